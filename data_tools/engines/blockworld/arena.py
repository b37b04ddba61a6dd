"""The arena: a small court between four walls of strong colours, where a walker comes back to every place soon."""

from __future__ import annotations

import numpy as np

from data_tools.engines.blockworld.blocks import DISTINCT_WOOLS, Block
from data_tools.engines.blockworld.landmarks import Landmark
from data_tools.engines.blockworld.noise import Dice, hash_grid, salted
from data_tools.engines.blockworld.world import CLOUD_CELLS, World, assemble_world

SIDES = (2, 32)
"""Smallest and largest court, in blocks."""
_GROUND = 2
_MOAT = 2  # blocks between court and walls: nobody ever stands with the nose against one
_WALL = 3
_EMBLEM = 3  # width
_PILLAR = 2
_AIR = 3  # above the walls, so that the map holds whoever jumps


def build_arena(seed: int, side: int) -> World:
    """Build an arena: a court of sand, a moat around it, four walls, an empty sky; worlds differ in colours and places.

    Each wall has a colour of its own, an emblem in another one, and before it in the moat a pillar in a third; no two
    of the twelve colours of a world are the same.

    Args:
        seed: any int >= 0.
        side: blocks along x and z that one can walk, in `SIDES`.

    Raises:
        ValueError: a seed or side out of range.
    """
    if seed < 0:
        raise ValueError(f"world seed must be >= 0, got {seed}")
    if not SIDES[0] <= side <= SIDES[1]:
        raise ValueError(f"arena must be in [{SIDES[0]}, {SIDES[1]}] blocks, got {side}")
    dice = Dice(salted(seed, "arena"))
    wools = dice.shuffled(DISTINCT_WOOLS)
    rim = _MOAT + 1  # blocks from the edge of the map to the court
    size = side + 2 * rim
    blocks = np.zeros((size, size, _GROUND + _WALL + _AIR), dtype=np.uint8)
    blocks[:, :, 0] = Block.STONE
    blocks[1:-1, 1:-1, 1] = Block.WATER
    blocks[rim:-rim, rim:-rim, 1] = Block.SAND
    grid = np.moveaxis(np.mgrid[:size, :size], 0, -1)
    landmarks = []
    for wall in range(4):
        colour, emblem, pillar = (int(wool) for wool in wools[3 * wall : 3 * wall + 3])
        # A view of the same blocks whose first axis runs along the wall, and its second away from it.
        facing, places = np.rot90(blocks, wall), np.rot90(grid, wall)
        facing[1:-1, 0, 1 : _GROUND + _WALL] = colour
        first = 1 + dice.below(size - 1 - _EMBLEM)
        facing[first : first + _EMBLEM, 0, _GROUND : _GROUND + _WALL] = emblem
        along = rim + dice.below(side)
        facing[along, 1, 1 : _GROUND + _PILLAR] = pillar
        for kind, place, colours in (
            ("wall", places[first + _EMBLEM // 2, 0], (colour, emblem)),
            ("pillar", places[along, 1], (pillar, pillar)),
        ):
            landmarks.append(Landmark(kind, int(place[0]), int(place[1]), _GROUND, colours))
    for x in (0, -1):
        blocks[x, [0, -1], 1 : _GROUND + _WALL] = Block.STONE_BRICKS
    x, z = (axis.reshape(-1) for axis in np.mgrid[rim : size - rim, rim : size - rim])
    order = np.argsort(hash_grid(len(x), x, z), kind="stable")
    return assemble_world(
        seed,
        blocks,
        dryness=np.zeros((size, size)),
        clouds=np.zeros((CLOUD_CELLS, CLOUD_CELLS), dtype=bool),
        spawns=np.stack([x, z, np.full(len(x), _GROUND)], axis=1)[order].astype(np.int64),
        landmarks=tuple(landmarks),
    )
