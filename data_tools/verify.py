"""`mstv-data verify`: read raw episodes, frame shards or latent shards again, and check everything in them."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from data_tools import options
from data_tools.alignment import alignment_warnings
from data_tools.composition import SHARED_FIELDS
from data_tools.episode_reading import EpisodeReading
from data_tools.parallel import Bar, run_tasks
from data_tools.raw_check import RawReport, check_raw, incomplete_episodes, raw_records
from data_tools.shard_check import ShardCheck, ShardReport
from mstv.data.schema import (
    MANIFEST,
    RECORD,
    TOKENIZER_COPY,
    Episode,
    Manifest,
    Shard,
    file_sha256,
)
from mstv.errors import UserError


@dataclass
class Verification:
    """What was found in a set.

    Attributes:
        what: that was checked, such as `4 tars of frames, 163 frames`.
        problems: what makes it unfit for use, one line each.
        warnings: what is likely wrong, though everything is as it was written, one line each.
        readings: of each episode whose frames were decoded, by key.
    """

    what: str
    problems: list[str]
    warnings: list[str] = field(default_factory=list)
    readings: list[EpisodeReading] = field(default_factory=list)

    def read(self, folder: Path, readings: list[EpisodeReading]) -> None:
        """Take the readings of the episodes and warn of what they show."""
        self.readings = sorted(readings, key=lambda reading: reading.key)
        moving = {reading.key: reading.evidence for reading in self.readings if reading.has_motion}
        self.warnings += [f"{folder}: {line}" for line in alignment_warnings(moving)]
        self.warnings += [f"{folder}: {reading.key}: {line}" for reading in self.readings for line in reading.warnings]


def verify(folder: Path, decode: bool = True, workers: int = 2) -> Verification:
    """Check a set: checksums, counts, arrays, frames, splits; whether actions stand at their frames; dead videos.

    Args:
        folder: holds the tars and `manifest.json`, or raw episodes.
        decode: whether videos are decoded, which is most of the work; otherwise no warnings are given.
        workers: processes.

    Raises:
        UserError: no such folder, or neither a readable manifest nor a record in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: give a folder of raw episodes, frame shards or latent shards")
    if (folder / MANIFEST).is_file():
        return _verify_shards(folder, decode, workers)
    if raw_records(folder):
        return _verify_raw(folder, decode, workers)
    raise UserError(
        f"{folder}: holds no {MANIFEST} and no raw episode (<key>.{RECORD}): it is empty, half-made or not a set"
    )


def _verify_shards(folder: Path, decode: bool, workers: int) -> Verification:
    manifest = Manifest.read(folder / MANIFEST)
    named = {shard.name for shard in manifest.shards}
    problems = [
        f"{path}: is in the folder but not in {MANIFEST}"
        for path in sorted(folder.glob("*.tar"))
        if path.name not in named
    ]
    if len(named) < len(manifest.shards):
        problems.append(f"{folder / MANIFEST}: field shards names a tar twice")
    problems += _tokenizer_problems(folder, manifest)
    reports: dict[str, ShardReport] = {}
    with Bar("verify", len(manifest.shards), "tars") as bar:
        tasks = [(folder, manifest, shard, decode) for shard in manifest.shards]
        for _, report in run_tasks(_check_shard, tasks, workers):
            reports[report.name] = report
            bar.advance(sum(report.frames.values()))
    world_home: dict[str, str] = {}
    episode_home: dict[str, str] = {}
    readings: list[EpisodeReading] = []
    for shard in manifest.shards:
        report = reports[shard.name]
        problems += report.problems
        readings += report.readings
        for world in sorted(report.worlds):
            if world_home.setdefault(world, shard.split) != shard.split:
                problems.append(f"{folder}: world {world} is in {world_home[world]} and in {shard.split}: splits leak")
        for key in report.frames:
            if episode_home.setdefault(key, shard.name) != shard.name:
                problems.append(f"{folder}: episode {key} is in {episode_home[key]} and in {shard.name}")
    frames = sum(shard.num_frames for shard in manifest.shards)
    result = Verification(f"{len(manifest.shards)} tars of {manifest.kind}, {frames} frames", problems)
    result.read(folder, readings)
    return result


def _verify_raw(folder: Path, decode: bool, workers: int) -> Verification:
    names = raw_records(folder)
    reports: dict[str, RawReport] = {}
    with Bar("verify", len(names), "episodes") as bar:
        for _, report in run_tasks(check_raw, [(folder, name, decode) for name in names], workers):
            reports[report.name] = report
            bar.advance(report.num_frames)
    problems: list[str] = []
    readings: list[EpisodeReading] = []
    first: Episode | None = None
    for name in names:
        report = reports[name]
        problems += report.problems
        if report.reading is not None:
            readings.append(report.reading)
        if report.episode is None:
            continue
        first = first or report.episode
        for field_name in SHARED_FIELDS:
            here, there = getattr(first, field_name), getattr(report.episode, field_name)
            if here != there:
                problems.append(
                    f"{folder / name}: field {field_name} is {there}, that of {first.key} is {here}: "
                    "put them in folders of their own"
                )
    frames = sum(report.num_frames for report in reports.values())
    result = Verification(f"{len(names)} raw episodes, {frames} frames", problems)
    result.warnings += [
        f"{folder / name}: has no record ({Path(name).stem}.{RECORD}), so it is left out: record or import it again"
        for name in incomplete_episodes(folder)
    ]
    result.read(folder, readings)
    return result


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


def _check_shard(folder: Path, manifest: Manifest, shard: Shard, decode: bool) -> ShardReport:
    return ShardCheck(folder, manifest, shard, decode).run()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data verify`."""
    parser.add_argument(
        "folder", type=Path, metavar="SET", help="folder of raw episodes, of frame shards or of latent shards"
    )
    parser.add_argument(
        "--fast", action="store_true", help="do not decode videos, nor look for misplaced actions and dead videos"
    )
    parser.add_argument("--strict", action="store_true", help="exit with code 2 on warnings too")
    parser.add_argument("--episodes", action="store_true", help="tell where each episode's actions stand")
    options.add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data verify`; exit code 2 if there is any problem, or with `--strict` any warning."""
    found = verify(arguments.folder, not arguments.fast, arguments.workers)
    lines = [str(reading) for reading in found.readings] if arguments.episodes else []
    lines += found.problems
    lines += [f"warning: {warning}" for warning in found.warnings]
    verdict = _count(found.problems, "problem") if found.problems else "sound"
    if found.warnings:
        verdict += f", {_count(found.warnings, 'warning')}"
    lines.append(f"{arguments.folder}: {verdict}; {found.what}{_alignment(found.readings)}")
    print("\n".join(lines))
    return 2 if found.problems or (arguments.strict and found.warnings) else 0


def _count(lines: list[str], noun: str) -> str:
    return f"{len(lines)} {noun}{'' if len(lines) == 1 else 's'}"


def _alignment(readings: list[EpisodeReading]) -> str:
    """In how many episodes the actions stand at their frames; nothing where none has motion."""
    moving = [reading.evidence for reading in readings if reading.has_motion]
    right = sum(evidence.sure and evidence.best == 0 for evidence in moving)
    unsure = sum(not evidence.sure for evidence in moving)
    undecided = f" ({unsure} undecided: too short, or too little of it)" if unsure else ""
    return f"; actions at their frames in {right} of {len(moving)} episodes with motion{undecided}" if moving else ""
