"""Procedural 16x16 textures and their mip levels, painted with integers only."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from data_tools.engines.blockworld.blocks import TEXTURE_NAMES, WOOL_COLOURS
from data_tools.engines.blockworld.noise import hash_grid

SIZE = 16
LEVELS = 5
TEXELS = sum((SIZE >> level) ** 2 for level in range(LEVELS))
"""Texels of one texture over all mip levels, 16x16 first, then 8x8, 4x4, 2x2, 1x1: 341."""

Colour = tuple[int, int, int]
Image = NDArray[np.int64]
_rows, _columns = np.mgrid[0:SIZE, 0:SIZE]


def _seed(name: str) -> int:
    return zlib.crc32(name.encode())


def _speckle(name: str, colour: Colour, spread: int, grain: tuple[int, int] = (1, 1)) -> Image:
    """Brightness noise of -spread..spread around `colour` in patches of `grain` texels (down, across)."""
    noise = hash_grid(_seed(name), _rows // grain[0], _columns // grain[1]) >> np.uint64(33)
    # A few distinct tones, as a hand-painted 16x16 texture has, not white noise.
    tones = (noise % np.uint64(5)).astype(np.int64) - 2
    return np.asarray(colour) + (tones * spread // 2)[..., None]


def _dots(name: str, image: Image, colour: Colour, one_in: int) -> Image:
    hit = hash_grid(_seed(name) + 1, _rows, _columns) % np.uint64(one_in) == 0
    image[hit] = colour
    return image


def _stone(name: str, colour: Colour, spread: int) -> Image:
    return (_speckle(name, colour, spread, (2, 4)) + _speckle(name + "fine", colour, spread)) // 2


def _bricks(name: str, colour: Colour, mortar: Colour, spread: int, height: int, width: int) -> Image:
    course = _rows // height
    across = (_columns + (course % 2) * (width // 2)) % SIZE
    tone = (hash_grid(_seed(name), course, across // width) % np.uint64(2 * spread + 1)).astype(np.int64) - spread
    image = _speckle(name, colour, spread) + tone[..., None]
    image[(_rows % height == height - 1) | (across % width == width - 1)] = mortar
    return image


def _cobble(name: str) -> Image:
    """Rounded stones: each texel belongs to the nearest of 16 jittered centres, borders are dark."""
    cells = np.arange(16)
    jitter = hash_grid(_seed(name), cells)
    centre_row = (cells // 4) * 4 + (jitter % np.uint64(4)).astype(np.int64)
    centre_column = (cells % 4) * 4 + ((jitter >> np.uint64(8)) % np.uint64(4)).astype(np.int64)
    # Wrapped distances, so that neighbouring blocks join without a seam.
    down = np.abs(_rows[..., None] - centre_row)
    across = np.abs(_columns[..., None] - centre_column)
    square = np.minimum(down, SIZE - down) ** 2 + np.minimum(across, SIZE - across) ** 2
    order = np.sort(square, axis=-1)
    tone = (jitter >> np.uint64(16)).astype(np.int64) % 40
    image = 95 + tone[np.argmin(square, axis=-1)] + np.zeros((3, 1, 1), dtype=np.int64)
    image = np.moveaxis(image, 0, -1).copy()
    image[order[..., 1] - order[..., 0] <= 2] = (78, 78, 78)
    return image


def _planks(name: str, colour: Colour) -> Image:
    image = _speckle(name, colour, 14, (1, 5))
    image[_rows % 4 == 3] = [c * 6 // 10 for c in colour]
    seam = (_columns == np.asarray([3, 11, 7, 14])[_rows // 4]) & (_rows % 4 != 3)
    image[seam] = [c * 7 // 10 for c in colour]
    return image


def _log_top(name: str, bark: Colour, wood: Colour) -> Image:
    ring = np.maximum(np.abs(2 * _rows - 15), np.abs(2 * _columns - 15)) // 2
    image = _speckle(name, wood, 8) - ((ring % 2) * 28)[..., None]
    image[ring == 7] = bark
    return image


def _birch(name: str) -> Image:
    image = _speckle(name, (214, 214, 208), 12, (1, 4))
    return np.where((hash_grid(_seed(name) + 1, _rows, _columns // 3) % np.uint64(9) == 0)[..., None], 45, image)


def _leaves(name: str, colour: Colour) -> Image:
    return _dots(name, _speckle(name, colour, 26), (colour[0] * 4 // 10, colour[1] * 4 // 10, colour[2] * 4 // 10), 5)


def _grass_side(name: str) -> Image:
    fringe = 2 + (hash_grid(_seed(name), _columns) % np.uint64(3)).astype(np.int64)
    grass, dirt = _speckle("grass_top", (104, 158, 60), 18), _speckle("dirt", (134, 96, 67), 22)
    return np.where((_rows < fringe)[..., None], grass, dirt)


def _lawn(name: str, flower: Colour | None) -> Image:
    image = _speckle("grass_top", (104, 158, 60), 18)
    return image if flower is None else _dots(name, image, flower, 9)


def _water(name: str) -> Image:
    return _speckle(name, (50, 90, 205), 12, (2, 5)) + ((_rows + _columns // 4) % 8 == 0)[..., None] * 20


def _window(name: str) -> Image:
    image = _speckle(name, (150, 205, 232), 8)
    image[(_rows + _columns) % 11 < 2] = (205, 234, 246)
    frame = (_rows % 15 == 0) | (_columns % 15 == 0) | (_columns == 7) | (_columns == 8)
    image[frame] = (92, 66, 40)
    return image


def _door(name: str, upper: bool) -> Image:
    image = _speckle(name, (122, 84, 48), 12, (5, 1))
    image[(_columns % 15 == 0) | (_rows == (0 if upper else 15))] = (72, 48, 28)
    if upper:
        image[(_rows >= 3) & (_rows <= 8) & (_columns >= 3) & (_columns <= 12) & (_columns % 5 != 2)] = (60, 76, 92)
    else:
        image[(_rows <= 2) & (_columns >= 12) & (_columns <= 13)] = (222, 200, 90)
    return image


def _lamp(name: str) -> Image:
    image = _speckle(name, (255, 226, 140), 22, (2, 2))
    image[(_rows % 15 == 0) | (_columns % 15 == 0)] = (150, 108, 52)
    return image


def _sandstone(name: str) -> Image:
    image = _speckle(name, (217, 204, 158), 10, (1, 6))
    image[(_rows == 4) | (_rows == 11)] = (186, 168, 118)
    return image


def _wool(name: str, colour: Colour) -> Image:
    image = _speckle(name, colour, 8, (2, 2)) + ((_rows + _columns) % 2)[..., None] * 5
    image[(_rows == 15) | (_columns == 15)] = [c * 85 // 100 for c in colour]
    return image


_PAINTERS: dict[str, Callable[[str], Image]] = {
    "water": _water,
    "stone": lambda name: _stone(name, (125, 125, 125), 22),
    "dirt": lambda name: _speckle(name, (134, 96, 67), 22),
    "grass_top": lambda name: _lawn(name, None),
    "poppies_top": lambda name: _lawn(name, (206, 42, 36)),
    "dandelions_top": lambda name: _lawn(name, (246, 216, 52)),
    "grass_side": _grass_side,
    "sand": lambda name: _speckle(name, (219, 207, 163), 14),
    "gravel": lambda name: _speckle(name, (131, 127, 126), 38, (2, 2)),
    "cobble": _cobble,
    "stone_bricks": lambda name: _bricks(name, (122, 122, 122), (82, 82, 82), 10, 8, 8),
    "bricks": lambda name: _bricks(name, (151, 88, 72), (176, 166, 158), 12, 4, 8),
    "planks": lambda name: _planks(name, (172, 138, 84)),
    "oak_log": lambda name: _speckle(name, (108, 84, 51), 26, (6, 1)),
    "spruce_log": lambda name: _speckle(name, (62, 42, 24), 18, (5, 1)),
    "birch_log": _birch,
    "oak_log_top": lambda name: _log_top(name, (96, 74, 44), (176, 142, 88)),
    "spruce_log_top": lambda name: _log_top(name, (56, 38, 22), (126, 94, 56)),
    "birch_log_top": lambda name: _log_top(name, (210, 210, 204), (196, 178, 124)),
    "oak_leaves": lambda name: _leaves(name, (62, 122, 34)),
    "birch_leaves": lambda name: _leaves(name, (118, 152, 66)),
    "spruce_leaves": lambda name: _leaves(name, (50, 88, 58)),
    "window": _window,
    "door_lower": lambda name: _door(name, False),
    "door_upper": lambda name: _door(name, True),
    "sandstone": _sandstone,
    "lamp": _lamp,
}


def _paint(name: str) -> Image:
    if name.startswith("wool_"):
        return _wool(name, WOOL_COLOURS[name.removeprefix("wool_")])
    return _PAINTERS[name](name)


def build_textures() -> NDArray[np.uint8]:
    """Paint all textures: uint8, shape (len(TEXTURE_NAMES), TEXELS, 3), in the order of `TEXTURE_NAMES`.

    Row 0 of a texture is its top; each mip level is the rounded mean of 2x2 texels of the level before.
    """
    textures = np.empty((len(TEXTURE_NAMES), TEXELS, 3), dtype=np.uint8)
    for index, name in enumerate(TEXTURE_NAMES):
        image = np.clip(_paint(name), 0, 255)
        start = 0
        for _ in range(LEVELS):
            side = len(image)
            textures[index, start : start + side * side] = image.reshape(-1, 3)
            start += side * side
            if side > 1:
                image = (image.reshape(side // 2, 2, side // 2, 2, 3).sum(axis=(1, 3)) + 2) // 4
    return textures
