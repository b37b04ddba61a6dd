"""The world as the ray caster reads it: blocks, and in the air how far a ray may leap.

Each byte says what a ray finds in a cell:
    r < OPEN: air, and so are all cells within r of it in every direction (a cube).
    OPEN + r: air under the open sky, and so are all cells at its height or higher within r of it along x and z.
    FIRST_BLOCK + b: block b of `blocks.py`.
    OUTSIDE: past the map. The array has one such layer on each side, so that no ray needs a bounds check.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_tools.engines.blockworld.kernel import kernel

OPEN = 32
FIRST_BLOCK = 96
OUTSIDE = 255


@kernel
def _sweep(distance: NDArray[np.int16], away: bool) -> None:
    """Lower an int16 (x, z, y) array in place to the Chebyshev distance to its zeros, one way or, with `away`, back."""
    size_x, size_z, size_y = distance.shape
    sign = -1 if away else 1
    for i in range(size_x):
        x = i if sign == 1 else size_x - 1 - i
        for j in range(size_z):
            z = j if sign == 1 else size_z - 1 - j
            for k in range(size_y):
                y = k if sign == 1 else size_y - 1 - k
                best = distance[x, z, y]
                if best == 0:
                    continue
                for dx in range(-1, 1):
                    for dz in range(-1, 2):
                        for dy in range(-1, 2):
                            before = dx < 0 or dz < 0 or (dz == 0 and dy < 0)
                            ax, az, ay = x + sign * dx, z + sign * dz, y + sign * dy
                            if before and 0 <= ax < size_x and 0 <= az < size_z and 0 <= ay < size_y:
                                best = min(best, distance[ax, az, ay] + 1)
                distance[x, z, y] = best


@kernel
def _open_reach(tops: NDArray[np.int64], height: int) -> NDArray[np.int16]:
    """For each [x, z, y] how far, along x and z, no column rises above y; -1 where the column itself does (int16)."""
    size_x, size_z = tops.shape
    reach = np.empty((size_x, size_z, height), dtype=np.int16)
    for sweep in range(2):
        sign = 1 - 2 * sweep
        for i in range(size_x):
            x = i if sweep == 0 else size_x - 1 - i
            for j in range(size_z):
                z = j if sweep == 0 else size_z - 1 - j
                for y in range(height):
                    if sweep == 0:
                        # No leap reaches past the sides of the map.
                        side = min(min(x, size_x - 1 - x), min(z, size_z - 1 - z))
                        reach[x, z, y] = -1 if tops[x, z] > y else side
                for dx, dz in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
                    ax, az = x + sign * dx, z + sign * dz
                    if 0 <= ax < size_x and 0 <= az < size_z:
                        for y in range(height):
                            reach[x, z, y] = min(reach[x, z, y], reach[ax, az, y] + 1)
    return reach


def encode_cells(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Encode blocks [x, z, y] of shape (n, n, h) as uint8 cells of shape (n + 2, n + 2, h + 2), see the module.

    A leap never reaches past the map, so a ray leaves it by way of an `OUTSIDE` cell.
    """
    filled = blocks != 0
    distance = np.zeros([side + 2 for side in blocks.shape], dtype=np.int16)
    distance[1:-1, 1:-1, 1:-1] = np.where(filled, 0, OPEN)
    _sweep(distance, False)
    _sweep(distance, True)
    cube = distance[1:-1, 1:-1, 1:-1] - 1
    height = blocks.shape[2]
    tops = np.where(filled.any(axis=2), height - np.argmax(filled[:, :, ::-1], axis=2), 0)
    around = np.minimum(_open_reach(tops.astype(np.int64), height), FIRST_BLOCK - OPEN - 1)
    cells = np.full(distance.shape, OUTSIDE, dtype=np.uint8)
    # Most rays run nearly level close to the ground, where the cube is small and the open sky is wide.
    air = np.where(around > 2 * cube, OPEN + around, cube)
    cells[1:-1, 1:-1, 1:-1] = np.where(filled, FIRST_BLOCK + blocks.astype(np.int64), air)
    return cells
