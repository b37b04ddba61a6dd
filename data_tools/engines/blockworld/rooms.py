"""Rooms: a square of small rooms, each with colours of its own, of which only the one that one stands in is seen."""

from __future__ import annotations

import numpy as np

from data_tools.engines.blockworld.blocks import DISTINCT_WOOLS, Block
from data_tools.engines.blockworld.landmarks import Landmark
from data_tools.engines.blockworld.noise import Dice, salted
from data_tools.engines.blockworld.world import CLOUD_CELLS, World, assemble_world

SIDES = (1, 16)
"""Fewest and most rooms along x and z."""
PITCH = 7
"""Blocks from the middle of one room to the next: five inside, and a wall on either side."""
_GROUND = 2
_WALL = 4
_AIR = 3  # above the walls, so that the map holds whoever jumps
_MIDDLE = PITCH // 2


def build_rooms(seed: int, side: int) -> World:
    """Build `side` x `side` rooms under an open sky, with a doorway in the middle of each wall between two.

    A room has a floor of one colour and four walls of four others. Each wall has a broad stripe of yet another colour
    left or right of its middle. Nothing is shared between rooms but what a doorway shows.

    Args:
        seed: any int >= 0.
        side: rooms along x and z, in `SIDES`.

    Raises:
        ValueError: a seed or side out of range.
    """
    if seed < 0:
        raise ValueError(f"world seed must be >= 0, got {seed}")
    if not SIDES[0] <= side <= SIDES[1]:
        raise ValueError(f"rooms must be in [{SIDES[0]}, {SIDES[1]}], got {side}")
    dice = Dice(salted(seed, "rooms"))
    size = side * PITCH
    blocks = np.zeros((size, size, _GROUND + _WALL + _AIR), dtype=np.uint8)
    blocks[:, :, 0] = Block.STONE
    grid = np.moveaxis(np.mgrid[:size, :size], 0, -1)
    landmarks = []
    for x, z in np.ndindex(side, side):
        wools = dice.shuffled(DISTINCT_WOOLS)
        part = (slice(x * PITCH, (x + 1) * PITCH), slice(z * PITCH, (z + 1) * PITCH))
        room, places = blocks[part], grid[part]
        room[:, :, 1] = wools[0]
        for wall in range(4):
            colour, stripe = int(wools[1 + wall]), int(wools[5 + wall])
            # A view of the same blocks whose first axis runs along the wall, and its second away from it.
            facing, where = np.rot90(room, wall), np.rot90(places, wall)
            facing[1:-1, 0, _GROUND : _GROUND + _WALL] = colour
            first = 1 if dice.below(2) else _MIDDLE + 1
            facing[first : first + 2, 0, _GROUND : _GROUND + _WALL] = stripe
            along, across = where[first, 0]
            landmarks.append(Landmark("wall", int(along), int(across), _GROUND, (colour, stripe)))
        room[[0, 0, -1, -1], [0, -1, 0, -1], _GROUND : _GROUND + _WALL] = Block.STONE_BRICKS
    for row in range(side):
        for door in range(1, side):
            through = slice(door * PITCH - 1, door * PITCH + 1)
            middle = row * PITCH + _MIDDLE
            blocks[through, middle, _GROUND : _GROUND + _WALL] = Block.AIR
            blocks[middle, through, _GROUND : _GROUND + _WALL] = Block.AIR
    middles = np.arange(side) * PITCH + _MIDDLE
    x, z = (axis.reshape(-1) for axis in np.meshgrid(middles, middles, indexing="ij"))
    return assemble_world(
        seed,
        blocks,
        dryness=np.zeros((size, size)),
        clouds=np.zeros((CLOUD_CELLS, CLOUD_CELLS), dtype=bool),
        spawns=np.stack([x, z, np.full(len(x), _GROUND)], axis=1).astype(np.int64),
        landmarks=tuple(landmarks),
    )
