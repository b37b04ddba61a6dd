"""`mstv-data shard`: raw episodes become a set of frame shards, byte for byte the same each time."""

import argparse
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from data_tools import options
from data_tools.composition import Splitting, check_alike, compose
from data_tools.episode import RawEpisodes
from data_tools.frame_shard import is_whole, write_frame_shard
from data_tools.output_folder import output_folder
from data_tools.parallel import Bar, run_tasks
from mstv.data.schema import GOP_FRAMES, MANIFEST, SPLITS, Manifest, Shard
from mstv.errors import UserError

UNFINISHED = ".manifest.unfinished.json"
"""A manifest of the tars that are done, kept while the others are made; a restart trusts only these."""
_NOTE_SHARE = 20
"""That manifest takes at most one in so many seconds; what is done since the last one is lost by SIGKILL alone."""

_OURS = re.compile(rf"({'|'.join(SPLITS)})-\d{{6}}\.tar")


@dataclass(frozen=True)
class Sharding:
    """Settings of a set of frame shards.

    Attributes:
        chunk_frames: frames of a sample, a multiple of GOP_FRAMES.
        episodes_per_shard: episodes of a tar; None closes a tar by size.
        shard_bytes: a tar takes no more episodes once it holds so many bytes.
        splitting: which world goes where.

    Raises:
        UserError: `chunk_frames` is no multiple of GOP_FRAMES.
    """

    chunk_frames: int = 64
    episodes_per_shard: int | None = None
    shard_bytes: int = 256 * 2**20
    splitting: Splitting = field(default_factory=Splitting)

    def __post_init__(self) -> None:
        if self.chunk_frames < 1 or self.chunk_frames % GOP_FRAMES:
            raise UserError(f"chunk_frames is {self.chunk_frames}: choose a multiple of {GOP_FRAMES} frames, the GOP")


def make_shards(raw_folder: Path, out: Path, settings: Sharding, workers: int = 2) -> tuple[Manifest, int]:
    """Make or complete the set of frame shards in `out`; tars that fit already are kept.

    Returns:
        (the manifest, tars written now; 0 if the set was finished and is unchanged).

    Raises:
        UserError: no raw episodes, episodes that do not fit together or are damaged, or `out` cannot be written or
            holds tars that are not ours.
    """
    if raw_folder.resolve() == out.resolve():
        raise UserError(f"{out}: is the folder of the raw episodes: choose another output folder")
    raw = RawEpisodes(raw_folder)
    first = check_alike(raw)
    composition = compose(raw, settings.splitting, settings.episodes_per_shard, settings.shard_bytes)

    source = os.path.relpath(raw_folder.resolve(), out.resolve())

    def manifest(shards: dict[str, Shard]) -> Manifest:
        return Manifest(
            kind="frames",
            fps=first.fps,
            image_size=(first.height, first.width),
            actions=first.actions,
            chunk_frames=settings.chunk_frames,
            shards=tuple(shards[name] for name in sorted(shards)),
            source=source,
        )

    with output_folder(out):
        old = _known_shards(out, source)
        parts = {name: raw.only(keys) for name, keys in composition.items()}
        done = {
            name: old[name]
            for name, part in parts.items()
            if name in old and is_whole(old[name], out / name, list(part.records.values()), settings.chunk_frames)
        }
        missing = [name for name in composition if name not in done]
        stale = [path for path in out.glob("*.tar") if _OURS.fullmatch(path.name) and path.name not in composition]
        finished = out / MANIFEST
        if not missing and not stale and finished.is_file() and finished.read_bytes() == manifest(done).to_bytes():
            (out / UNFINISHED).unlink(missing_ok=True)
            return manifest(done), 0
        # From here to the end there is no manifest, since it would disagree with the tars.
        manifest(done).write(out / UNFINISHED)
        finished.unlink(missing_ok=True)
        for path in stale:
            path.unlink()
        with Bar("shard", len(composition), "tars") as bar:
            bar.skip(len(done))
            tasks = [(parts[name], out / name, settings.chunk_frames) for name in missing]
            noted, cost = time.monotonic(), 0.0
            try:
                for _, shard in run_tasks(write_frame_shard, tasks, workers):
                    done[shard.name] = shard
                    began = time.monotonic()
                    # It names all tars: written after each of ten thousand, it would cost more than they do.
                    if began - noted >= _NOTE_SHARE * cost:
                        manifest(done).write(out / UNFINISHED)
                        noted = time.monotonic()
                        cost = noted - began
                    bar.advance(shard.num_frames)
            finally:
                manifest(done).write(out / UNFINISHED)
        manifest(done).write(finished)
        (out / UNFINISHED).unlink()
    return manifest(done), len(missing)


def _known_shards(out: Path, source: str) -> dict[str, Shard]:
    """Shards that an earlier run made of the same `source`, by name."""
    for name in (UNFINISHED, MANIFEST):
        path = out / name
        if path.is_file():
            try:
                manifest = Manifest.read(path)
            except UserError as error:
                raise UserError(f"{error}; remove {out} first, or choose another output folder") from None
            if manifest.kind != "frames":
                raise UserError(f"{path}: field kind is {manifest.kind}: choose another output folder")
            if manifest.source != source:
                raise UserError(
                    f"{path}: field source is {manifest.source}, but {source} is given: choose another output folder, "
                    f"or remove {out} to make it anew"
                )
            return {shard.name: shard for shard in manifest.shards}
    foreign = next(iter(sorted(out.glob("*.tar"))), None)
    if foreign:
        raise UserError(f"{foreign}: was there before and is in no {MANIFEST}: choose another output folder")
    return {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data shard`."""
    parser.add_argument("raw", type=Path, metavar="RAW", help="folder of raw episodes")
    parser.add_argument("out", type=options.folder, metavar="SHARDS", help="folder of the shards, made if absent")
    parser.add_argument(
        "--chunk-frames",
        type=options.positive,
        default=64,
        metavar="N",
        help=f"frames a sample, a multiple of {GOP_FRAMES} (default: 64)",
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--episodes-per-shard", type=options.positive, metavar="N", help="close a tar after N episodes")
    group.add_argument(
        "--shard-megabytes",
        type=options.positive,
        default=256,
        metavar="N",
        help="close a tar once it holds N MiB of whole episodes (default: 256)",
    )
    parser.add_argument(
        "--fractions",
        type=options.fractions,
        default=(0.8, 0.1, 0.1),
        metavar="TRAIN,VALIDATION,TEST",
        help="expected shares of the worlds, by a hash of their ids (default: .8,.1,.1)",
    )
    for split in SPLITS:
        parser.add_argument(
            f"--{split}-worlds", type=options.names, default=(), metavar="A,B", help=f"worlds that go into {split}"
        )
    options.add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data shard`."""
    settings = Sharding(
        chunk_frames=arguments.chunk_frames,
        episodes_per_shard=arguments.episodes_per_shard,
        shard_bytes=arguments.shard_megabytes * 2**20,
        splitting=Splitting(
            arguments.fractions,
            {
                "train": arguments.train_worlds,
                "validation": arguments.validation_worlds,
                "test": arguments.test_worlds,
            },
        ),
    )
    manifest, written = make_shards(arguments.raw, arguments.out, settings, arguments.workers)
    kept = len(manifest.shards) - written
    print(f"{arguments.out}: wrote {written} tars, kept {kept}" if written else f"{arguments.out}: is up to date")
    for split in SPLITS:
        shards = manifest.of_split(split)
        episodes = sum(len(shard.episodes) for shard in shards)
        worlds = len({world for shard in shards for world in shard.worlds})
        frames = sum(shard.num_frames for shard in shards)
        print(f"  {split}: {episodes} episodes of {worlds} worlds, {frames} frames, {len(shards)} tars")
        if not shards:
            print(f"  warning: {split} is empty: assign worlds to it with --{split}-worlds, or change --fractions")
    return 0
