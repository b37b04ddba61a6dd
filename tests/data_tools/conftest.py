"""Tiny raw episodes, written once and copied by the tests that change them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from data_tools.episode_writer import write_episode
from mstv.data.schema import ActionSpec, Episode, Source

SPEC = ActionSpec(kind="discrete", names=("forward", "turn_left", "turn_right"))
HEIGHT, WIDTH = 32, 48


def moving_frames(num_frames: int, seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A picture that slides by a pixel a frame: uint8 (T, H, W, 3)."""
    picture = np.random.default_rng(seed).integers(0, 256, (height // 4, (width + num_frames) // 4 + 1, 3), np.uint8)
    picture = picture.repeat(4, 0).repeat(4, 1)
    return np.stack([picture[:, t : t + width] for t in range(num_frames)])


def tiny_episode(folder: Path, key: str, world: str, num_frames: int, seed: int = 0, **changes: object) -> Episode:
    """Write an episode whose actions and poses follow from its number of frames and `seed`."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, 3, num_frames).astype(np.int16)
    actions[0] = -1
    options = {"fps": 20.0, "spec": SPEC, "actions": actions, **changes}
    size = options.pop("size", (HEIGHT, WIDTH))
    return write_episode(
        folder,
        key,
        moving_frames(num_frames, seed, *size),
        source=Source(engine="test", world=world),
        poses=rng.random((num_frames, 5), np.float32),
        **options,
    )


@pytest.fixture(scope="session")
def _raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "raw"
    for number, (world, num_frames) in enumerate([("a", 40), ("a", 33), ("b", 16), ("c", 24), ("d", 50)]):
        tiny_episode(folder, f"walk-{number}", world, num_frames, seed=number)
    return folder


@pytest.fixture
def raw(_raw: Path, tmp_path: Path) -> Path:
    """A folder of five raw episodes of four worlds, to be changed at will."""
    return Path(shutil.copytree(_raw, tmp_path / "raw"))
