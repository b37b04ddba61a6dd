"""The ground: gentle hills, lakes, beaches and ravines on an island."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_tools.engines.blockworld.blocks import Block
from data_tools.engines.blockworld.noise import Dice, hash_grid, salted, value_noise

SEA_LEVEL = 12
"""Cells below this are water where they are not ground."""

_SHORE = 14  # blocks from the map's edge over which the island rises out of the sea
_RAVINE_SPACING = 64
_LANDMARK_BLEND = 6  # blocks over which the ground returns to itself around a landmark's level site


def _coordinates(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    x, z = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    return x, z


def ground_heights(seed: int, size: int) -> NDArray[np.float64]:
    """Height of the ground in blocks before landmarks, shape (size, size) indexed [x, z]; the rim is under water.

    Slopes stay mostly below one block a block, so that a walker who climbs single steps gets nearly everywhere.
    """
    x, z = _coordinates(size)
    hills = value_noise(salted(seed, "hills"), x, z, 40)
    heights = 11.5 + 13.0 * hills + 3.0 * (value_noise(salted(seed, "bumps"), x, z, 17) - 0.5)
    lakes = np.maximum(0.0, 0.2 - value_noise(salted(seed, "lakes"), x, z, 26))
    heights = heights - 60.0 * lakes
    _carve_ravines(heights, seed)
    edge = np.minimum(np.minimum(x, size - 1 - x), np.minimum(z, size - 1 - z))
    rise = np.clip((edge - 2 - 5.0 * value_noise(salted(seed, "shore"), x, z, 11)) / _SHORE, 0.0, 1.0)
    rise = rise * rise * (3.0 - 2.0 * rise)
    heights = (SEA_LEVEL - 4.0) * (1.0 - rise) + np.maximum(heights, SEA_LEVEL - 3.0) * rise
    heights[edge == 0] = SEA_LEVEL - 4.0
    return heights


def _carve_ravines(heights: NDArray[np.float64], seed: int) -> None:
    """Cut meandering ravines in place: one wall is a cliff, the other a stair, so that nobody is trapped."""
    size = len(heights)
    dice = Dice(salted(seed, "ravines"))
    for corner_x in range(0, size - _RAVINE_SPACING + 1, _RAVINE_SPACING):
        for corner_z in range(0, size - _RAVINE_SPACING + 1, _RAVINE_SPACING):
            middle_x, middle_z = corner_x + dice.between(22, 42), corner_z + dice.between(22, 42)
            length = dice.between(16, 24)
            along, across = _coordinates(size)
            along, across = along - middle_x, across - middle_z
            if dice.below(2):
                along, across = across, along
            side = 1 if dice.below(2) else -1
            bend = 10.0 * (value_noise(salted(seed, f"ravine {corner_x} {corner_z}"), along, 0 * along, 12) - 0.5)
            lateral = side * (across - bend)
            depth = np.minimum(8.0, (length - np.abs(along)) * 0.9)
            depth = np.where(lateral < -2.0, 0.0, depth - np.maximum(0.0, lateral - 2.0))
            floor = np.minimum(heights, SEA_LEVEL + 1.0)
            np.copyto(heights, np.maximum(floor, heights - np.maximum(depth, 0.0)))


def level_sites(heights: NDArray[np.float64], sites: Sequence[tuple[int, int, int, int]]) -> None:
    """Level the ground in place around each (x, z, radius, height): flat within the radius, then blended out."""
    x, z = _coordinates(len(heights))
    for site_x, site_z, radius, height in sites:
        away = np.maximum(np.abs(x - site_x), np.abs(z - site_z)) - radius
        blend = np.clip(away / _LANDMARK_BLEND, 0.0, 1.0)
        np.copyto(heights, height * (1.0 - blend) + heights * blend)


def fill_ground(heights: NDArray[np.float64], seed: int, map_height: int) -> NDArray[np.uint8]:
    """Fill columns with stone, soil, beaches and water: uint8 blocks of shape (size, size, map_height), [x, z, y]."""
    size = len(heights)
    x, z = _coordinates(size)
    tops = np.clip(np.floor(heights + 0.5), 2, map_height - 1).astype(np.int64)
    soil = np.where(hash_grid(salted(seed, "soil"), x, z) % np.uint64(2) == 0, 3, 2)
    steep = np.zeros((size, size), dtype=np.int64)
    for axis in (0, 1):
        drop = np.abs(np.diff(tops, axis=axis))
        first, last = [slice(None)] * 2, [slice(None)] * 2
        first[axis], last[axis] = slice(None, -1), slice(1, None)
        steep[tuple(first)] = np.maximum(steep[tuple(first)], drop)
        steep[tuple(last)] = np.maximum(steep[tuple(last)], drop)

    surface = np.full((size, size), Block.GRASS, dtype=np.uint8)
    flowers = value_noise(salted(seed, "flowers"), x, z, 9)
    sprinkled = hash_grid(salted(seed, "sprinkle"), x, z) % np.uint64(4) == 0
    surface[(flowers > 0.72) & sprinkled] = Block.POPPIES
    surface[(flowers < 0.24) & sprinkled] = Block.DANDELIONS
    surface[steep >= 3] = Block.STONE
    shallow = tops <= SEA_LEVEL + (value_noise(salted(seed, "beaches"), x, z, 14) > 0.5)
    surface[shallow] = Block.SAND
    surface[tops < SEA_LEVEL - 2] = Block.GRAVEL
    under = np.where(shallow, Block.SAND, Block.DIRT).astype(np.uint8)
    under[steep >= 3] = Block.STONE

    y = np.arange(map_height)
    top, below_top = tops[..., None], y < tops[..., None] - 1
    blocks = np.where(y < SEA_LEVEL, Block.WATER, Block.AIR).astype(np.uint8)
    blocks = np.broadcast_to(blocks, (size, size, map_height)).copy()
    np.copyto(blocks, np.broadcast_to(surface[..., None], blocks.shape), where=y == top - 1)
    rock = y < top - 1 - soil[..., None]
    np.copyto(blocks, np.broadcast_to(under[..., None], blocks.shape), where=below_top & ~rock)
    blocks[rock] = Block.STONE
    return blocks
