"""A world: everything that follows from its seed and size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_tools.engines.blockworld.blocks import LAWNS, Block
from data_tools.engines.blockworld.cells import encode_cells
from data_tools.engines.blockworld.landmarks import (
    RADIUS,
    SPACING,
    TALLEST,
    Landmark,
    build_landmarks,
    choose_landmarks,
)
from data_tools.engines.blockworld.noise import hash_grid, salted, value_noise
from data_tools.engines.blockworld.terrain import SEA_LEVEL, fill_ground, ground_heights, level_sites
from data_tools.engines.blockworld.trees import plant_trees

CLOUD_CELLS = 64
_SPAWN_REACH = 4  # a spawn point looks for open ground this many blocks around
_HEADROOM = 3


@dataclass(frozen=True, eq=False)
class World:
    """A built world; all arrays are read-only and indexed [x, z] or [x, z, y], one entry a block, y up.

    Attributes:
        seed: the world's seed.
        blocks: uint8 (size, size, height), numbers of `Block`.
        cells: uint8 (size + 2, size + 2, height + 2), `blocks` as the ray caster reads them (see `cells.py`).
        cover: uint8 (size + 2, size + 2), padded like `cells`: the topmost opaque cell; lower air lies in shade.
        dryness: uint8 (size + 2, size + 2), padded likewise: 0 lush to 255 dry, colours lawns and leaves.
        clouds: uint8 (CLOUD_CELLS, CLOUD_CELLS), 1 where a cloud is; repeats in both directions.
        columns: for each column (index x * size + z) an int whose bit y is set where nobody can be. Water, and all
            air above it, is barred.
        spawns: int64 (n, 3), columns x, z and ground height of open, walkable places.
        landmarks: the landmarks and where they stand.
    """

    seed: int
    blocks: NDArray[np.uint8]
    cells: NDArray[np.uint8]
    cover: NDArray[np.uint8]
    dryness: NDArray[np.uint8]
    clouds: NDArray[np.uint8]
    columns: tuple[int, ...]
    spawns: NDArray[np.int64]
    landmarks: tuple[Landmark, ...]

    @property
    def size(self) -> int:
        """Blocks along x and along z."""
        return self.blocks.shape[0]

    @property
    def height(self) -> int:
        """Blocks along y."""
        return self.blocks.shape[2]


def build_world(seed: int, size: int = 128, height: int = 48) -> World:
    """Build the world of a seed.

    Args:
        seed: any int >= 0.
        size: blocks along x and z, in [64, 1024].
        height: blocks along y, in [40, 200].

    Raises:
        ValueError: for a size, height or seed outside these ranges.
    """
    if seed < 0:
        raise ValueError(f"world seed must be >= 0, got {seed}")
    if not 2 * SPACING <= size <= 1024:
        raise ValueError(f"map size must be in [{2 * SPACING}, 1024] blocks, got {size}")
    if not SEA_LEVEL + TALLEST + 8 <= height <= 200:
        raise ValueError(f"map height must be in [{SEA_LEVEL + TALLEST + 8}, 200] blocks, got {height}")
    heights = ground_heights(seed, size)
    landmarks = choose_landmarks(heights, seed, height)
    level_sites(heights, [(mark.x, mark.z, RADIUS, mark.ground) for mark in landmarks])
    blocks = fill_ground(heights, seed, height)
    build_landmarks(blocks, landmarks, seed)
    reserved = np.zeros((size, size), dtype=bool)
    for mark in landmarks:
        reach = RADIUS + 3
        reserved[max(0, mark.x - reach) : mark.x + reach + 1, max(0, mark.z - reach) : mark.z + reach + 1] = True
    plant_trees(blocks, seed, reserved)

    axis = np.arange(size)
    drift = np.arange(CLOUD_CELLS)
    return assemble_world(
        seed,
        blocks,
        dryness=255.0 * value_noise(salted(seed, "dryness"), axis[:, None], axis[None, :], 36),
        clouds=value_noise(salted(seed, "clouds"), drift[:, None], drift[None, :], 4) > 0.6,
        spawns=_spawn_places(blocks, _height_above_top(_opaque(blocks)), reserved),
        landmarks=landmarks,
    )


def assemble_world(
    seed: int,
    blocks: NDArray[np.uint8],
    dryness: NDArray[np.float64],
    clouds: NDArray[np.bool_],
    spawns: NDArray[np.int64],
    landmarks: tuple[Landmark, ...],
) -> World:
    """The world of these blocks, with all that follows from them; see the attributes of `World`.

    Args:
        seed: the world's seed.
        blocks: uint8 (size, size, height), numbers of `Block`.
        dryness: (size, size) in [0, 255].
        clouds: (CLOUD_CELLS, CLOUD_CELLS).
        spawns: (n, 3), n >= 1.
        landmarks: the landmarks.
    """
    opaque = _opaque(blocks)
    world = World(
        seed=seed,
        blocks=blocks,
        cells=encode_cells(blocks),
        cover=np.pad(_height_above_top(opaque).astype(np.uint8), 1),
        dryness=np.pad(dryness.astype(np.uint8), 1),
        clouds=clouds.astype(np.uint8),
        columns=_barred_columns(blocks, opaque),
        spawns=spawns,
        landmarks=landmarks,
    )
    for array in (world.blocks, world.cells, world.cover, world.dryness, world.clouds, world.spawns):
        array.flags.writeable = False
    return world


def _opaque(blocks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (blocks != Block.AIR) & (blocks != Block.WATER)


def _height_above_top(opaque: NDArray[np.bool_]) -> NDArray[np.int64]:
    return opaque.shape[2] - np.argmax(opaque[:, :, ::-1], axis=2)


def _barred_columns(blocks: NDArray[np.uint8], opaque: NDArray[np.bool_]) -> tuple[int, ...]:
    wet = (blocks == Block.WATER).any(axis=2)
    barred = opaque | wet[..., None]
    packed = np.packbits(barred.reshape(-1, barred.shape[2]), axis=1, bitorder="little")
    return tuple(int.from_bytes(row.tobytes(), "little") for row in packed)


def _spawn_places(
    blocks: NDArray[np.uint8], cover: NDArray[np.int64], reserved: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Lawns or beaches, outside landmarks, with gentle open ground all around; ordered by hash of the place."""
    size = len(cover)
    top = np.take_along_axis(blocks, cover[..., None] - 1, axis=2)[..., 0]
    natural = np.isin(top, [*LAWNS, Block.SAND]) & (cover >= SEA_LEVEL) & (cover + _HEADROOM <= blocks.shape[2])
    level = np.zeros((size, size), dtype=bool)
    inside = slice(_SPAWN_REACH, size - _SPAWN_REACH)
    steps = np.ones((size, size), dtype=bool)
    steps[1:] &= np.abs(np.diff(cover, axis=0)) <= 1
    steps[:, 1:] &= np.abs(np.diff(cover, axis=1)) <= 1
    dry = cover >= SEA_LEVEL
    # Wet ground has a cover below the sea, so it too is "not open".
    windows = np.lib.stride_tricks.sliding_window_view(steps & dry, (2 * _SPAWN_REACH + 1,) * 2)
    level[inside, inside] = windows.all(axis=(2, 3))
    for good in (natural & level & ~reserved, natural & ~reserved, natural):
        x, z = np.nonzero(good)
        if len(x):
            break
    order = np.argsort(hash_grid(len(x), x, z), kind="stable")
    return np.stack([x, z, cover[x, z]], axis=1)[order].astype(np.int64)
