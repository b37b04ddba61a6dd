"""Small sets of frame shards and latent shards, made once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mstv.data.latent_shards import LatentSample, write_latent_shard
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
from mstv.data.shards import write_shard
from mstv.data.video import encode_video
from mstv.levels import Levels

CHUNK_FRAMES = 8
LEVELS = Levels((16, 32), (2, 2), 3)
CHANNELS = 4
ACTION_SPECS = {
    "none": ActionSpec(),
    "discrete": ActionSpec(kind="discrete", names=("forward", "left", "right")),
    "vector": ActionSpec(kind="vector", names=("speed", "turn"), units=("1", "degrees")),
}


def episode_of(key: str, num_frames: int, actions: ActionSpec | None = None) -> Episode:
    return Episode(
        key=key,
        fps=20,
        num_frames=num_frames,
        height=LEVELS.image_size[0],
        width=LEVELS.image_size[1],
        source=Source(engine="test", world=f"world-of-{key}"),
        actions=actions or ActionSpec(),
    )


def image_of(code: int) -> np.ndarray:
    """A picture that says its number: eight 8x8 squares, black or white, one for each bit."""
    bits = np.array([code >> bit & 1 for bit in range(8)], np.uint8).reshape(2, 4)
    return np.repeat((bits * 255).repeat(8, 0).repeat(8, 1)[..., None], 3, -1)


def code_of(image: np.ndarray) -> int:
    """The number of a decoded picture, (3, 16, 32) uint8."""
    squares = image.reshape(3, 2, 8, 4, 8).mean((0, 2, 4)).reshape(8) > 127
    return sum(int(bit) << index for index, bit in enumerate(squares))


def write_frame_set(folder: Path, shards: dict[str, dict[str, range]]) -> Path:
    """A set whose episodes show pictures of the codes given; shard name -> episode -> codes."""
    described = []
    for name, episodes in shards.items():
        lengths = {key: len(codes) for key, codes in episodes.items()}
        num_samples, num_bytes, sha256 = write_shard(folder / name, _frame_samples(folder, episodes))
        described.append(
            Shard(
                name=name,
                num_samples=num_samples,
                num_frames=sum(lengths.values()),
                num_bytes=num_bytes,
                sha256=sha256,
                episodes=lengths,
                worlds=tuple(f"world-of-{key}" for key in episodes),
            )
        )
    Manifest(
        kind="frames",
        fps=20,
        image_size=LEVELS.image_size,
        actions=ActionSpec(),
        chunk_frames=CHUNK_FRAMES,
        shards=tuple(described),
    ).write(folder / MANIFEST)
    return folder


def _frame_samples(folder: Path, episodes: dict[str, range]) -> Iterator[tuple[str, dict[str, bytes]]]:
    for key, codes in episodes.items():
        record = episode_of(key, len(codes))
        for chunk, first in enumerate(range(0, len(codes), CHUNK_FRAMES)):
            part = codes[first : first + CHUNK_FRAMES]
            path = folder / "chunk.mp4"
            encode_video([image_of(code) for code in part], path, 20)
            about = Chunk(episode=record, chunk=chunk, first_frame=first, num_frames=len(part), checksums={})
            yield Chunk.sample_key(key, chunk), {VIDEO: path.read_bytes(), RECORD: about.to_bytes()}
            path.unlink()


@pytest.fixture(scope="session")
def frame_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shards to train on, of 36 (five of them) and 20 frames, all with codes of their own; two to validate on."""
    shards: dict[str, dict[str, range]] = {}
    for index in range(6):
        first = 36 * index
        episodes = {f"long-{index}": range(first, first + 20)}
        if index < 5:
            episodes[f"short-{index}"] = range(first + 20, first + 36)
        shards[f"train-{index:06d}.tar"] = episodes
    shards["validation-000000.tar"] = {"seen-0": range(20), "seen-1": range(100, 111)}
    shards["validation-000001.tar"] = {"seen-2": range(200, 216)}
    return write_frame_set(tmp_path_factory.mktemp("frames"), shards)


def latent_sample(key: str, num_frames: int, kind: str = "discrete", seed: int = 0) -> LatentSample:
    """An episode of random latents."""
    rng = np.random.default_rng([seed, num_frames])
    spec = ACTION_SPECS[kind]
    actions = {
        "none": None,
        "discrete": rng.integers(-1, 3, num_frames).astype(np.int16),
        "vector": rng.normal(size=(num_frames, 2)).astype(np.float32),
    }[kind]
    return LatentSample(
        record=LatentEpisode(episode=episode_of(key, num_frames, spec), num_frames=num_frames),
        levels=[
            rng.uniform(-1, 1, (num_frames, *LEVELS.grid(level), CHANNELS)).astype(np.float16)
            for level in range(LEVELS.num_levels)
        ],
        actions=actions,
        poses=rng.normal(size=(num_frames, 5)).astype(np.float32),
    )


LatentSet = tuple[Path, dict[str, LatentSample]]


def write_latent_set(folder: Path, shards: dict[str, list[LatentSample]], kind: str = "discrete") -> LatentSet:
    """A set of the samples, and the samples by key."""
    described = tuple(write_latent_shard(folder / name, samples) for name, samples in shards.items())
    Manifest(
        kind="latents",
        fps=20,
        image_size=LEVELS.image_size,
        actions=ACTION_SPECS[kind],
        shards=described,
        patch_size=LEVELS.patch_size,
        num_levels=LEVELS.num_levels,
        latent_channels=CHANNELS,
    ).write(folder / MANIFEST)
    return folder, {sample.record.episode.key: sample for samples in shards.values() for sample in samples}


@pytest.fixture(scope="session", params=["discrete", "vector", "none"])
def latent_set(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LatentSet:
    """Two shards to train on, with an episode that is too short for a chunk of 21 frames, and one to validate on."""
    kind = request.param
    return write_latent_set(
        tmp_path_factory.mktemp(f"latents-{kind}"),
        {
            "train-000000.tar": [latent_sample("one", 30, kind, 1), latent_sample("tiny", 5, kind, 2)],
            "train-000001.tar": [latent_sample("two", 21, kind, 3)],
            "validation-000000.tar": [latent_sample("three", 40, kind, 4)],
        },
        kind,
    )


@pytest.fixture
def discrete_set(tmp_path: Path) -> LatentSet:
    """A set that a test may damage."""
    return write_latent_set(
        tmp_path, {"train-000000.tar": [latent_sample("one", 30)], "validation-000000.tar": [latent_sample("two", 25)]}
    )
