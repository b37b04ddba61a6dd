"""Landmarks: built things that make a place recognisable, each instance with its own colours and proportions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_tools.engines.blockworld.blocks import WOOL_COLOURS, Block
from data_tools.engines.blockworld.noise import Dice, salted
from data_tools.engines.blockworld.terrain import SEA_LEVEL

SPACING = 32
"""One landmark in each square of this side."""
RADIUS = 5
"""Half-width of the level ground of a landmark, in blocks."""
TALLEST = 20
"""No landmark is taller than this."""

Colours = tuple[int, int]
Building = NDArray[np.uint8]  # (width, depth, height), odd width and depth; air leaves what is there


def _tower(dice: Dice, colours: Colours) -> Building:
    """A square tower, banded, chequered or striped, with a crown of merlons."""
    half, height, pattern = dice.between(1, 2), dice.between(13, 18), dice.below(3)
    side = 2 * half + 3
    tower = np.zeros((side, side, height + 2), dtype=np.uint8)
    x, z, y = np.ogrid[0:side, 0:side, 0:height]
    second = np.broadcast_to((y // 3 % 2, (x + z + y) % 2, (x + z) % 2)[pattern], (side, side, height))
    tower[1:-1, 1:-1, :height] = np.where(second, colours[1], colours[0])[1:-1, 1:-1]
    tower[:, :, height - 1] = colours[0]
    ring = (x == 0) | (x == side - 1) | (z == 0) | (z == side - 1)
    tower[(ring & ((x + z) % 2 == 0))[..., 0], height] = colours[1]
    tower[1:-1, 1:-1, :1] = Block.STONE_BRICKS
    tower[side // 2, side // 2, height : height + 2] = Block.LAMP
    return tower


def _house(dice: Dice, colours: Colours) -> Building:
    """A closed house with windows, a door and a coloured gable roof."""
    width, depth = 7, dice.choice((7, 9))
    wall = dice.choice((Block.PLANKS, Block.BRICKS, Block.COBBLE, Block.SANDSTONE))
    house = np.zeros((width + 2, depth + 2, 10), dtype=np.uint8)
    house[1:-1, 1:-1, :4] = wall
    house[2:-2, 2:-2, :4] = Block.AIR
    house[1:-1, 1:-1, 0] = Block.COBBLE
    for x in (1, width):
        for z in (1, depth):
            house[x, z, :4] = Block.OAK_LOG
    for z in range(3, depth - 1, 2):
        house[[1, width], z, 1:3] = Block.WINDOW
    house[[3, width - 2], 1, 2] = Block.WINDOW
    house[[3, width - 2], depth, 2] = Block.WINDOW
    house[width // 2 + 1, 1, 0:2] = (Block.DOOR_LOWER, Block.DOOR_UPPER)
    for rise in range((width + 3) // 2):
        house[[rise, width + 1 - rise], :, 4 + rise] = colours[0]
        # The gables, in the second colour.
        house[rise + 1 : width + 1 - rise, [1, depth], 4 + rise] = colours[1]
    house[2, depth // 2, 4:10] = Block.BRICKS
    return house


def _pyramid(dice: Dice, colours: Colours) -> Building:
    """A stepped pyramid with a coloured course and a lamp on a coloured tip."""
    half = dice.between(4, 5)
    stone = dice.choice((Block.SANDSTONE, Block.STONE_BRICKS, Block.SANDSTONE))
    band = dice.between(1, 2)
    pyramid = np.zeros((2 * half + 1, 2 * half + 1, half + 5), dtype=np.uint8)
    for y in range(half + 1):
        inner = slice(y, 2 * half + 1 - y)
        pyramid[inner, inner, y] = colours[0] if y % 3 == band else stone
    pyramid[half, half, half : half + 4] = colours[1]
    pyramid[half, half, half + 4] = Block.LAMP
    return pyramid


def _arch(dice: Dice, colours: Colours) -> Building:
    """An arch to walk through."""
    height = dice.between(8, 11)
    arch = np.zeros((11, 3, height + 2), dtype=np.uint8)
    y = np.arange(height)
    arch[1:4, :, :height] = arch[7:10, :, :height] = np.where(y % 2, colours[0], colours[1])
    arch[:, :, height] = colours[0]
    arch[4, :, height - 2 : height] = arch[6, :, height - 2 : height] = Block.STONE_BRICKS
    arch[5, :, height - 1] = Block.STONE_BRICKS
    arch[0::2, :, height + 1] = colours[1]
    arch[:4, :, 0] = arch[7:, :, 0] = Block.STONE_BRICKS
    return arch


def _lighthouse(dice: Dice, colours: Colours) -> Building:
    """A round tower in two bands of colour with a lamp room and a pointed roof."""
    height, band = dice.between(12, 15), dice.between(2, 4)
    tower = np.zeros((7, 7, height + 5), dtype=np.uint8)
    x, z = np.ogrid[-3:4, -3:4]
    wide, narrow = x * x + z * z <= 10, x * x + z * z <= 5
    for y in range(height):
        tower[wide if y < 3 else narrow, y] = colours[y // band % 2] if y else Block.STONE_BRICKS
    tower[wide, height] = Block.STONE_BRICKS
    tower[2:5, 2:5, height + 1 : height + 3] = Block.LAMP
    tower[narrow, height + 3] = colours[0]
    tower[3, 3, height + 4] = colours[0]
    return tower


def _totem(dice: Dice, colours: Colours) -> Building:
    """A pillar that carries a large patterned cube."""
    pillar, pattern = dice.between(4, 7), dice.below(3)
    totem = np.zeros((5, 5, pillar + 6), dtype=np.uint8)
    totem[1:4, 1:4, 0] = Block.COBBLE
    totem[2, 2, :pillar] = dice.choice((Block.STONE_BRICKS, Block.BIRCH_LOG, Block.SPRUCE_LOG))
    x, z, y = np.ogrid[-2:3, -2:3, -2:3]
    reach = np.sort(np.abs(np.stack(np.broadcast_arrays(x, z, y))), axis=0)
    # On a face of the cube the largest of the three is 2 and the other two are the place on that face.
    second = ((reach[0] + reach[1]) % 2 == 1, reach[1] == 2, (reach[0] == 0) | (reach[1] == 0))[pattern]
    totem[:, :, pillar : pillar + 5] = np.where(second, colours[1], colours[0])
    totem[2, 2, pillar + 5] = Block.LAMP
    return totem


BUILDERS: dict[str, Callable[[Dice, Colours], Building]] = {
    "tower": _tower,
    "house": _house,
    "lighthouse": _lighthouse,
    "pyramid": _pyramid,
    "arch": _arch,
    "totem": _totem,
}


@dataclass(frozen=True)
class Landmark:
    """One landmark: its kind, the centre of its site in blocks, the ground's height there and its two wool blocks."""

    kind: str
    x: int
    z: int
    ground: int
    colours: Colours


def choose_landmarks(heights: NDArray[np.float64], seed: int, map_height: int) -> tuple[Landmark, ...]:
    """Choose a site, kind and colours in every `SPACING` square of the map; no two landmarks share a colour pair."""
    dice = Dice(salted(seed, "landmark sites"))
    squares = len(heights) // SPACING
    wools = range(Block.WOOL, Block.WOOL + len(WOOL_COLOURS))
    pairs = dice.shuffled([(a, b) for a in wools for b in wools if a != b])
    landmarks: list[Landmark] = []
    kinds: list[str] = []
    for square_x in range(squares):
        for square_z in range(squares):
            kinds = kinds or dice.shuffled(list(BUILDERS))
            for _ in range(8):
                x, z = (SPACING * square + SPACING // 2 + dice.between(-7, 7) for square in (square_x, square_z))
                if heights[x, z] > SEA_LEVEL + 1:
                    break
            ground = int(min(max(heights[x, z], SEA_LEVEL + 2), map_height - TALLEST - 1))
            landmarks.append(Landmark(kinds.pop(), x, z, ground, pairs[len(landmarks) % len(pairs)]))
    return tuple(landmarks)


def build_landmarks(blocks: NDArray[np.uint8], landmarks: Sequence[Landmark], seed: int) -> None:
    """Raise the landmarks in place on their levelled sites of `blocks` [x, z, y]."""
    dice = Dice(salted(seed, "buildings"))
    for landmark in landmarks:
        building = np.rot90(BUILDERS[landmark.kind](dice, landmark.colours), dice.below(4))
        width, depth, height = building.shape
        x, z = landmark.x - width // 2, landmark.z - depth // 2
        room = blocks[x : x + width, z : z + depth, landmark.ground : landmark.ground + height]
        np.copyto(room, building[:, :, : room.shape[2]], where=building[:, :, : room.shape[2]] != Block.AIR)
