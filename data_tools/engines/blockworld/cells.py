"""The world as the ray caster reads it: blocks, and in the air how far a ray may leap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_tools.engines.blockworld.kernel import kernel

FIRST_BLOCK = 64
"""A cell holding FIRST_BLOCK + b is block b; a smaller value r says that all cells within r (Chebyshev) are air."""


@kernel
def encode_cells(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Encode blocks [x, z, y] as uint8 cells of the same shape, see `FIRST_BLOCK`.

    The distance is the exact Chebyshev distance to the nearest block, by a forward and a backward sweep over the 13
    neighbours already visited, and never reaches past the map's sides.
    """
    size_x, size_z, size_y = blocks.shape
    far = FIRST_BLOCK - 1
    distance = np.empty(blocks.shape, dtype=np.int16)
    for sweep in range(2):
        sign = 1 - 2 * sweep
        for i in range(size_x):
            x = i if sweep == 0 else size_x - 1 - i
            for j in range(size_z):
                z = j if sweep == 0 else size_z - 1 - j
                for k in range(size_y):
                    y = k if sweep == 0 else size_y - 1 - k
                    if blocks[x, z, y] != 0:
                        distance[x, z, y] = 0
                        continue
                    # One past the sides counts as a block; above the map there is only sky.
                    best = min(min(x + 1, size_x - x), min(z + 1, size_z - z))
                    best = min(best, far)
                    if sweep == 1:
                        best = min(best, distance[x, z, y])
                    for dx in range(-1, 1):
                        for dz in range(-1, 2):
                            for dy in range(-1, 2):
                                before = dx < 0 or dz < 0 or (dz == 0 and dy < 0)
                                ax, az, ay = x + sign * dx, z + sign * dz, y + sign * dy
                                if before and 0 <= ax < size_x and 0 <= az < size_z and 0 <= ay < size_y:
                                    best = min(best, distance[ax, az, ay] + 1)
                    distance[x, z, y] = best
    cells = np.empty(blocks.shape, dtype=np.uint8)
    for x in range(size_x):
        for z in range(size_z):
            for y in range(size_y):
                if blocks[x, z, y] != 0:
                    cells[x, z, y] = FIRST_BLOCK + blocks[x, z, y]
                else:
                    cells[x, z, y] = distance[x, z, y] - 1
    return cells
