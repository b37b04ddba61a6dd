"""`mstv-data verify`: read a set of frame or latent shards again, and check everything in it."""

import argparse
from pathlib import Path

from data_tools import options
from data_tools.parallel import Bar, run_tasks
from data_tools.shard_check import ShardCheck, ShardReport
from mstv.data.schema import MANIFEST, TOKENIZER_COPY, Manifest, Shard, file_sha256, read_manifest


def verify(folder: Path, decode: bool = True, workers: int = 2) -> tuple[Manifest, list[str]]:
    """Check the tars of a set against its manifest: checksums, counts, arrays, frames, splits.

    Args:
        folder: holds the tars and `manifest.json`.
        decode: whether videos are decoded, which is most of the work.
        workers: processes.

    Returns:
        (the manifest, the problems found, one line each).

    Raises:
        UserError: no such folder, or no readable manifest.
    """
    manifest = _manifest(folder)
    named = {shard.name for shard in manifest.shards}
    problems = [
        f"{path}: is in the folder but not in {MANIFEST}"
        for path in sorted(folder.glob("*.tar"))
        if path.name not in named
    ]
    problems += _tokenizer_problems(folder, manifest)
    reports: dict[str, ShardReport] = {}
    with Bar("verify", len(manifest.shards), "tars") as bar:
        tasks = [(folder, manifest, shard, decode) for shard in manifest.shards]
        for _, report in run_tasks(_check, tasks, workers):
            reports[report.name] = report
            bar.advance(sum(report.frames.values()))
    world_home: dict[str, str] = {}
    episode_home: dict[str, str] = {}
    for shard in manifest.shards:
        report = reports[shard.name]
        problems += report.problems
        for world in sorted(report.worlds):
            if world_home.setdefault(world, shard.split) != shard.split:
                problems.append(f"{folder}: world {world} is in {world_home[world]} and in {shard.split}: splits leak")
        for key in report.frames:
            if episode_home.setdefault(key, shard.name) != shard.name:
                problems.append(f"{folder}: episode {key} is in {episode_home[key]} and in {shard.name}")
    return manifest, problems


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    return Manifest.read(path) if path.is_file() else read_manifest(folder, "frames")


def _tokenizer_problems(folder: Path, manifest: Manifest) -> list[str]:
    """What is wrong with the tokenizer that lies beside latents."""
    if manifest.kind != "latents":
        return []
    path = folder / TOKENIZER_COPY
    if manifest.tokenizer is None:
        return [f"{folder / MANIFEST}: field tokenizer is missing"]
    if not path.is_file():
        return [f"{path}: is missing"]
    found = file_sha256(path)
    expected = manifest.tokenizer.copy_sha256
    return [] if found == expected else [f"{path}: field tokenizer.copy_sha256 is {expected}, found {found}"]


def _check(folder: Path, manifest: Manifest, shard: Shard, decode: bool) -> ShardReport:
    return ShardCheck(folder, manifest, shard, decode).run()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data verify`."""
    parser.add_argument("folder", type=Path, metavar="SHARDS", help="folder of frame shards or latent shards")
    parser.add_argument("--fast", action="store_true", help="do not decode videos")
    options.add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data verify`; exit code 2 if there is any problem."""
    manifest, problems = verify(arguments.folder, not arguments.fast, arguments.workers)
    for problem in problems:
        print(problem)
    frames = sum(shard.num_frames for shard in manifest.shards)
    verdict = f"{len(problems)} problems" if problems else "sound"
    print(f"{arguments.folder}: {verdict}; {len(manifest.shards)} tars of {manifest.kind}, {frames} frames")
    return 2 if problems else 0
