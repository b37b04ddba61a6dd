"""A world to look around in: pictures of coloured blocks, whose views are known from yaw alone."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

SIZE = 48
STEP = 3
"""Degrees, and pixels, of a turn."""


@lru_cache(maxsize=512)
def panorama(world: int) -> Tensor:
    """(3, SIZE, 360) in [0, 1]: rectangles over a gradient, another picture for each world."""
    random = np.random.default_rng(world)
    picture = np.ones((3, SIZE, 360)) * np.linspace(0.8, 0.4, SIZE)[:, None]
    for _ in range(120):
        top, left = random.integers(0, SIZE), random.integers(0, 360)
        height, width = random.integers(4, 20, 2)
        picture[:, top : top + height, left : left + width] = random.random(3)[:, None, None]
    return torch.from_numpy(picture).float()


def look(world: int, yaw: float) -> Tensor:
    """(3, SIZE, SIZE): the view at `yaw` degrees."""
    return panorama(world).roll(-round(yaw), 2)[..., :SIZE]


def swings(*turns: int) -> np.ndarray:
    """Yaw of each frame, in degrees: for each number, so many steps to the right and as many back."""
    steps = [step for turn in turns for step in [STEP] * turn + [-STEP] * turn]
    return np.cumsum([0, *steps])


def walk(yaw: np.ndarray, world: int = 0) -> tuple[Tensor, np.ndarray]:
    """Video (T, 3, SIZE, SIZE) and poses (T, 5) of somebody who stands and turns."""
    poses = np.zeros((len(yaw), 5), np.float32)
    poses[:, 3] = yaw % 360
    return torch.stack([look(world, angle) for angle in yaw]), poses


def blurred(video: Tensor, passes: int) -> Tensor:
    """Box blurs of three pixels, one upon the other."""
    frames = video.flatten(0, -4)
    for _ in range(passes):
        padded = torch.nn.functional.pad(frames, (1, 1, 1, 1), mode="replicate")
        frames = torch.nn.functional.avg_pool2d(padded, 3, 1)
    return frames.reshape(video.shape)
