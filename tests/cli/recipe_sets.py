"""Tiny sets of any size, on which the shipped recipes take a step."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mstv.data.latent_shards import LatentSample, write_latent_shard
from mstv.data.schema import ACTIONS as ACTION_MEMBER
from mstv.data.schema import (
    MANIFEST,
    RECORD,
    VIDEO,
    ActionSpec,
    Chunk,
    Episode,
    LatentEpisode,
    Manifest,
    Shard,
    Source,
)
from mstv.data.shards import npy_bytes, write_shard
from mstv.data.video import encode_video
from mstv.levels import Levels

ACTIONS = ActionSpec(kind="discrete", names=("forward", "left", "right"))
CHANNELS = 32
SPLITS = ("train", "validation")


def _episode(key: str, num_frames: int, levels: Levels) -> Episode:
    height, width = levels.image_size
    source = Source(engine="test", world=f"world-of-{key}")
    return Episode(key=key, fps=20, num_frames=num_frames, height=height, width=width, source=source, actions=ACTIONS)


def frames(folder: Path, levels: Levels, num_frames: int = 4) -> Path:
    """A set of one episode of grey frames in each split."""
    shards = []
    for split in SPLITS:
        record = _episode(split, num_frames, levels)

        def samples(record: Episode = record) -> Iterator[tuple[str, dict[str, bytes]]]:
            path = folder / "chunk.mp4"
            encode_video([np.full((*levels.image_size, 3), 40 * n, np.uint8) for n in range(num_frames)], path, 20)
            about = Chunk(episode=record, chunk=0, first_frame=0, num_frames=num_frames, checksums={})
            actions = npy_bytes(np.arange(num_frames, dtype=np.int16) % 3)
            members = {VIDEO: path.read_bytes(), ACTION_MEMBER: actions, RECORD: about.to_bytes()}
            yield Chunk.sample_key(record.key, 0), members
            path.unlink()

        name = f"{split}-000000.tar"
        num_samples, num_bytes, sha256 = write_shard(folder / name, samples())
        shards.append(
            Shard(
                name=name,
                num_samples=num_samples,
                num_frames=num_frames,
                num_bytes=num_bytes,
                sha256=sha256,
                episodes={split: num_frames},
                worlds=(record.source.world,),
            )
        )
    Manifest(
        kind="frames",
        fps=20,
        image_size=levels.image_size,
        actions=ACTIONS,
        chunk_frames=num_frames,
        shards=tuple(shards),
    ).write(folder / MANIFEST)
    return folder


def latents(folder: Path, levels: Levels, num_frames: int = 480) -> Path:
    """A set of one episode of random latents in each split."""
    rng = np.random.default_rng(0)
    shards = []
    for split in SPLITS:
        sample = LatentSample(
            record=LatentEpisode(episode=_episode(split, num_frames, levels), num_frames=num_frames),
            levels=[
                rng.uniform(-1, 1, (num_frames, *levels.grid(level), CHANNELS)).astype(np.float16)
                for level in range(levels.num_levels)
            ],
            actions=rng.integers(-1, 3, num_frames).astype(np.int16),
            poses=rng.normal(size=(num_frames, 5)).astype(np.float32),
        )
        shards.append(write_latent_shard(folder / f"{split}-000000.tar", [sample]))
    Manifest(
        kind="latents",
        fps=20,
        image_size=levels.image_size,
        actions=ACTIONS,
        shards=tuple(shards),
        patch_size=levels.patch_size,
        num_levels=levels.num_levels,
        latent_channels=CHANNELS,
    ).write(folder / MANIFEST)
    return folder
