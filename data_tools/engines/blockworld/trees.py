"""Trees: oaks, birches and spruces, thicker in woods than on meadows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_tools.engines.blockworld.blocks import LAWNS, Block
from data_tools.engines.blockworld.noise import Dice, salted, value_noise

_SPACING = 6  # at most one tree in each square of this side


def _round_crown(dice: Dice, log: int, leaves: int) -> NDArray[np.uint8]:
    trunk = dice.between(5, 7)
    tree = np.zeros((5, 5, trunk + 2), dtype=np.uint8)
    tree[:, :, trunk - 2 : trunk] = leaves
    tree[1:4, 1:4, trunk] = leaves
    tree[2, 1:4, trunk + 1] = tree[1:4, 2, trunk + 1] = leaves
    for x, z in ((0, 0), (0, 4), (4, 0), (4, 4)):
        if dice.below(2):
            tree[x, z] = Block.AIR
    tree[2, 2, :trunk] = log
    return tree


def _cone(dice: Dice) -> NDArray[np.uint8]:
    trunk = dice.between(7, 9)
    tree = np.zeros((5, 5, trunk + 2), dtype=np.uint8)
    for y in range(3, trunk):
        reach = 2 if (trunk - y) % 2 == 0 and y < trunk - 1 else 1
        tree[2 - reach : 3 + reach, 2 - reach : 3 + reach, y] = Block.SPRUCE_LEAVES
        if reach == 2:
            tree[[0, 0, 4, 4], [0, 4, 0, 4], y] = Block.AIR
    tree[2, 2, :trunk] = Block.SPRUCE_LOG
    tree[2, 2, trunk:] = Block.SPRUCE_LEAVES
    return tree


def plant_trees(blocks: NDArray[np.uint8], seed: int, reserved: NDArray[np.bool_]) -> None:
    """Plant trees in place on lawns of `blocks` [x, z, y], nowhere in `reserved` [x, z]; crowns leave walking room."""
    size, _, map_height = blocks.shape
    dice = Dice(salted(seed, "trees"))
    corners = np.arange(0, size - _SPACING, _SPACING)
    woods = value_noise(salted(seed, "woods"), corners[:, None], corners[None, :], 24)
    kinds = value_noise(salted(seed, "tree kinds"), corners[:, None], corners[None, :], 32)
    for i, corner_x in enumerate(corners):
        for j, corner_z in enumerate(corners):
            x, z = int(corner_x) + dice.below(_SPACING), int(corner_z) + dice.below(_SPACING)
            if dice.below(100) >= 12 + 75 * max(0.0, 2.0 * woods[i, j] - 0.7):
                continue
            kind = kinds[i, j] + 0.01 * dice.between(-12, 12)
            if kind < 0.38:
                tree = _cone(dice)
            elif kind < 0.6:
                tree = _round_crown(dice, Block.OAK_LOG, Block.OAK_LEAVES)
            else:
                tree = _round_crown(dice, Block.BIRCH_LOG, Block.BIRCH_LEAVES)
            if not (2 <= x < size - 2 and 2 <= z < size - 2) or reserved[x, z]:
                continue
            ground = int(np.flatnonzero(blocks[x, z])[-1])
            if blocks[x, z, ground] not in LAWNS or ground + 1 + tree.shape[2] > map_height:
                continue
            room = blocks[x - 2 : x + 3, z - 2 : z + 3, ground + 1 : ground + 1 + tree.shape[2]]
            np.copyto(room, tree, where=(tree != Block.AIR) & (room == Block.AIR))
            blocks[x, z, ground] = Block.DIRT
