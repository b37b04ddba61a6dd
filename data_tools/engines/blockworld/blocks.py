"""The kinds of block: their numbers and which texture each face wears."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

WOOL_COLOURS = {
    "white": (233, 236, 236), "orange": (240, 118, 19), "magenta": (189, 68, 179), "light_blue": (58, 175, 217),
    "yellow": (248, 198, 39), "lime": (112, 185, 25), "pink": (237, 141, 172), "grey": (62, 68, 71),
    "cyan": (21, 137, 145), "purple": (121, 42, 172), "blue": (53, 57, 157), "brown": (114, 71, 40),
    "green": (84, 109, 27), "red": (161, 39, 34), "black": (32, 32, 37), "silver": (142, 142, 134),
}  # fmt: skip


class Block(IntEnum):
    """Numbers of the blocks, as stored in a world's uint8 array; the wools follow from `WOOL` on."""

    AIR = 0
    WATER = 1
    STONE = 2
    DIRT = 3
    GRASS = 4
    SAND = 5
    GRAVEL = 6
    COBBLE = 7
    STONE_BRICKS = 8
    PLANKS = 9
    OAK_LOG = 10
    OAK_LEAVES = 11
    BIRCH_LOG = 12
    BIRCH_LEAVES = 13
    SPRUCE_LOG = 14
    SPRUCE_LEAVES = 15
    WINDOW = 16
    DOOR_LOWER = 17
    DOOR_UPPER = 18
    SANDSTONE = 19
    LAMP = 20
    BRICKS = 21
    POPPIES = 22
    DANDELIONS = 23
    WOOL = 24


DISTINCT_WOOLS = tuple(
    Block.WOOL + list(WOOL_COLOURS).index(name)
    for name in (
        "white", "orange", "magenta", "light_blue", "yellow", "lime", "pink", "cyan", "purple", "blue", "green", "red",
        "black",
    )
)  # fmt: skip
"""Wools that are told apart at a glance, from any side."""
BLOCKS = Block.WOOL + len(WOOL_COLOURS)
"""How many kinds there are."""

LEAVES = (Block.OAK_LEAVES, Block.BIRCH_LEAVES, Block.SPRUCE_LEAVES)
LAWNS = (Block.GRASS, Block.POPPIES, Block.DANDELIONS)

_ONE_TEXTURE = (
    "water", "stone", "dirt", "sand", "gravel", "cobble", "stone_bricks", "planks", "oak_leaves", "birch_leaves",
    "spruce_leaves", "window", "door_lower", "door_upper", "lamp", "bricks",
)  # fmt: skip

# Texture names of (top, side, bottom).
_FACES: dict[int, tuple[str, str, str]] = {
    **{Block[name.upper()]: (name, name, name) for name in _ONE_TEXTURE},
    **{Block.WOOL + i: (f"wool_{name}",) * 3 for i, name in enumerate(WOOL_COLOURS)},
    Block.GRASS: ("grass_top", "grass_side", "dirt"),
    Block.POPPIES: ("poppies_top", "grass_side", "dirt"),
    Block.DANDELIONS: ("dandelions_top", "grass_side", "dirt"),
    Block.OAK_LOG: ("oak_log_top", "oak_log", "oak_log_top"),
    Block.BIRCH_LOG: ("birch_log_top", "birch_log", "birch_log_top"),
    Block.SPRUCE_LOG: ("spruce_log_top", "spruce_log", "spruce_log_top"),
    Block.SANDSTONE: ("sand", "sandstone", "sandstone"),
}

TEXTURE_NAMES = tuple(sorted({name for names in _FACES.values() for name in names}))


def face_textures() -> NDArray[np.uint8]:
    """Index into `TEXTURE_NAMES` of each block's top, side and bottom: uint8, shape (BLOCKS, 3); air's is unused."""
    table = np.zeros((BLOCKS, 3), dtype=np.uint8)
    for block, names in _FACES.items():
        table[block] = [TEXTURE_NAMES.index(name) for name in names]
    return table


def tinted_faces() -> NDArray[np.uint8]:
    """1 where the world's local dryness colours a face (lawns from above, leaves): uint8, shape (BLOCKS, 3)."""
    table = np.zeros((BLOCKS, 3), dtype=np.uint8)
    table[list(LAWNS), 0] = 1
    table[list(LEAVES)] = 1
    return table
