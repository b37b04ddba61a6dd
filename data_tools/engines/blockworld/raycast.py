"""The ray caster: one ray a pixel through the cells of a world, on one core.

Only IEEE + - * / sqrt and comparisons reach a pixel, in a fixed order and without fused multiply-add, so a frame is
the same bytes on every x86-64 machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.engines.blockworld.kernel import kernel

Bytes = NDArray[np.uint8]
Cells = NDArray[np.int32]
Longs = NDArray[np.int64]
Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]

# Kernels may read constants of this file only (see kernel.py); the tests hold these against their sources.
OPEN, FIRST_BLOCK, OUTSIDE = 32, 96, 255
WATER = 1
CLOUD_CELLS = 64

LANES = 128
"""Rays that are followed together."""
# Where the rows of `_march`'s state begin; T and AXIS, made anew at each leap, come last.
X, Y, Z, CODE, D, INVERSE, REACH, RAY, T, AXIS = (row * LANES for row in (0, 1, 2, 3, 4, 7, 10, 11, 12, 13))

_CLOUD_HEIGHT = 72.0
_CLOUD_SIDE = 7.0
_CLOUD_REACH = 260.0
_FOG_START = 0.55  # as a fraction of the view distance
_SHADE = 0.68  # brightness under a roof or a tree
_ZENITH = (104.0, 158.0, 255.0)
_HORIZON = (190.0, 215.0, 255.0)
_DEEP = (24.0, 52.0, 132.0)
_X_FACE, _Z_FACE, _BOTTOM = 0.66, 0.82, 0.5


@kernel
def _march(cells: Bytes, eye: Doubles, lanes: Singles, index: Cells, left: int, place: Longs, axis: Longs) -> None:
    """Follow up to LANES rays from the eye to whatever stops each.

    A single ray waits for memory and mispredicted turns most of its time, so all advance together, one leap each: the
    arithmetic is one loop without branches over float32 rows, which the compiler turns into vector instructions.

    Args:
        lanes: float32 (rows x LANES,), the state of the rays; the caller fills rows D (direction, no component 0),
            INVERSE (1 / direction), REACH (largest depth) and RAY (number) of the first `left` lanes.
        left: how many rays.
        index: int32 (LANES,), scratch.
        place, axis: results by ray number, int64 (LANES, 3) and int64 (LANES,): the cell that stopped the ray
            (padded, see `cells.py`) and the axis (0 x, 1 y, 2 z) of the face; axis -1 past the ray's reach.
    """
    one, zero, first_open = np.float32(1.0), np.float32(0.0), np.float32(OPEN)
    ox, oy, oz = np.float32(eye[0]), np.float32(eye[1]), np.float32(eye[2])
    top = np.float32(cells.shape[2] - 2)
    side_z, side_y = np.int32(cells.shape[1]), np.int32(cells.shape[2])
    flat = cells.reshape(-1)
    # As float32 the eye may have been rounded up into the next cell, which may lie past the map.
    start_x, start_z = min(int(ox), cells.shape[0] - 2), min(int(oz), cells.shape[1] - 2)
    start_y = min(int(oy), cells.shape[2] - 2)
    start = np.float32(cells[start_x, start_z, start_y])
    # A block's code is no leap: from inside a block one sees as if it were air, of no wider reach than its own cell.
    start = start if start < np.float32(FIRST_BLOCK) else zero
    for k in range(left):
        lanes[X + k], lanes[Y + k], lanes[Z + k] = np.float32(start_x), np.float32(start_y), np.float32(start_z)
        lanes[CODE + k] = start
    while left > 0:
        for k in range((left + 31) // 32 * 32):
            ix, iy, iz = lanes[X + k], lanes[Y + k], lanes[Z + k]
            dx, dy, dz = lanes[D + k], lanes[D + LANES + k], lanes[D + 2 * LANES + k]
            code = lanes[CODE + k]
            # The box of air around this cell.
            is_open = code >= first_open
            leap = code - first_open if is_open else code
            high = top if is_open else iy + leap
            low = iy if is_open else iy - leap
            # Where the ray leaves it: the plane, and the cell behind.
            edge_x = ix + leap + one if dx > zero else ix - leap
            edge_y = high + one if dy > zero else low
            edge_z = iz + leap + one if dz > zero else iz - leap
            next_x = edge_x if dx > zero else edge_x - one
            next_y = edge_y if dy > zero else edge_y - one
            next_z = edge_z if dz > zero else edge_z - one
            tx = (edge_x - ox) * lanes[INVERSE + k]
            ty = (edge_y - oy) * lanes[INVERSE + LANES + k]
            tz = (edge_z - oz) * lanes[INVERSE + 2 * LANES + k]
            t = tx if tx < tz else tz
            t = ty if ty < t else t
            # Rounding may land a hair outside the box; a ray never skips what it has not seen.
            x, y, z = (
                np.float32(np.int32(ox + t * dx)),
                np.float32(np.int32(oy + t * dy)),
                np.float32(np.int32(oz + t * dz)),
            )
            x = ix - leap if x < ix - leap else x
            x = ix + leap if x > ix + leap else x
            y = low if y < low else y
            y = high if y > high else y
            z = iz - leap if z < iz - leap else z
            z = iz + leap if z > iz + leap else z
            # Of equal exits the first in the order y, x, z counts.
            x_last = tx if tx < ty else ty
            y = next_y if ty <= t else y
            x = next_x if tx <= t and tx < ty else x
            z = next_z if tz < x_last else z
            lanes[X + k], lanes[Y + k], lanes[Z + k] = x, y, z
            index[k] = (np.int32(x) * side_z + np.int32(z)) * side_y + np.int32(y)
            lanes[T + k] = t
            lanes[AXIS + k] = np.float32(2.0) if tz < x_last else (zero if tx < ty else one)
        # Backwards, so that the lane moved into a finished one has been looked at already.
        for k in range(left - 1, -1, -1):
            past = lanes[T + k] > lanes[REACH + k]
            code = flat[np.uint32(index[k])]
            lanes[CODE + k] = np.float32(code)
            if past or code >= FIRST_BLOCK:
                ray = int(lanes[RAY + k])
                place[ray, 0], place[ray, 1], place[ray, 2] = lanes[X + k], lanes[Y + k], lanes[Z + k]
                axis[ray] = -1 if past else int(lanes[AXIS + k])
                left -= 1
                for kept in range(0, T, LANES):
                    lanes[kept + k] = lanes[kept + left]


@kernel
def _sink(
    cells: Bytes,
    eye: Doubles,
    dx: float,
    dy: float,
    dz: float,
    t: float,
    axis: int,
    ix: int,
    iy: int,
    iz: int,
    reach: float,
) -> tuple[Any, float, int, int, int, int]:
    """Follow a ray through water, cell by cell, to the first block below; returns (cell code, depth, axis, cell)."""
    ox, oy, oz = eye[0], eye[1], eye[2]
    while t <= reach:
        code = np.int64(cells[ix, iz, iy])
        if code >= FIRST_BLOCK and code != FIRST_BLOCK + WATER:
            return code, t, axis, ix, iy, iz
        tx = ((ix + 1 if dx > 0.0 else ix) - ox) / dx
        ty = ((iy + 1 if dy > 0.0 else iy) - oy) / dy
        tz = ((iz + 1 if dz > 0.0 else iz) - oz) / dz
        t = min(min(tx, ty), tz)
        if tx == t:
            axis = 0
            ix += 1 if dx > 0.0 else -1
        elif tz == t:
            axis = 2
            iz += 1 if dz > 0.0 else -1
        else:
            axis = 1
            iy += 1 if dy > 0.0 else -1
    return OUTSIDE, t, axis, ix, iy, iz


@kernel
def _sky(
    clouds: Bytes, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, length: float
) -> tuple[float, float, float]:
    """Colour of the sky along a ray, in [0, 255]: a gradient, and square clouds on a plane that never moves."""
    rise = dy / length
    mix = min(max(rise * 1.8, 0.0), 1.0)
    red = _HORIZON[0] + (_ZENITH[0] - _HORIZON[0]) * mix
    green = _HORIZON[1] + (_ZENITH[1] - _HORIZON[1]) * mix
    blue = _HORIZON[2] + (_ZENITH[2] - _HORIZON[2]) * mix
    if rise > 0.02:
        t = (_CLOUD_HEIGHT - oy) / dy
        away = t * length
        if away < _CLOUD_REACH:
            # Shifted by a multiple of the pattern's side, so that truncation is a floor.
            i = int((ox + t * dx) / _CLOUD_SIDE + 6400.0) & (CLOUD_CELLS - 1)
            j = int((oz + t * dz) / _CLOUD_SIDE + 6400.0) & (CLOUD_CELLS - 1)
            if clouds[i, j] == 1:
                white = 0.75 * (1.0 - away / _CLOUD_REACH)
                red += (255.0 - red) * white
                green += (255.0 - green) * white
                blue += (255.0 - blue) * white
    return red, green, blue


@kernel
def _mip_level(pixel: float, t: float, length: float, dx: float, dy: float, dz: float, axis: int) -> int:
    """Mip level 0..4 of a face met at depth t, from the number of texels that a pixel covers there."""
    flat = abs(dx) if axis == 0 else (abs(dy) if axis == 1 else abs(dz))
    blur = pixel * pixel * t * t * length
    level = 0
    level += 1 if blur > 2.0 * flat else 0
    level += 1 if blur > 8.0 * flat else 0
    level += 1 if blur > 32.0 * flat else 0
    level += 1 if blur > 128.0 * flat else 0
    return level


@kernel
def _texel(u: float, v: float, level: int) -> int:
    """Index into the texels of a texture at u across and v down, each in [0, 1], on a mip level 0..4."""
    side = 16 >> level
    # The levels before this one hold 256 + 64 + ... texels, a geometric series.
    start = (1024 - 4 * side * side) // 3
    column = min(max(int(u * side), 0), side - 1)
    row = min(max(int(v * side), 0), side - 1)
    return start + row * side + column


@kernel
def render_frame(
    cells: Bytes,
    cover: Bytes,
    dryness: Bytes,
    clouds: Bytes,
    textures: Bytes,
    faces: Bytes,
    tinted: Bytes,
    camera: Doubles,
    view: float,
    half: float,
    sea: float,
    image: Bytes,
) -> None:
    """Fill uint8 `image` (height, width, 3).

    Rows of `camera` (4, 3) are the eye (in padded cells, so one block further along each axis), forward, right and
    up, as x, y, z; `half` is the tangent of half the vertical field of view, `view` the view distance in blocks, `sea`
    the padded height of the sea's surface.
    """
    height, width = image.shape[0], image.shape[1]
    eye = camera[0]
    ox, oy, oz = eye[0], eye[1], eye[2]
    pixel = 16.0 * 2.0 * half / height  # a pixel's size in texels at depth 1
    lanes = np.empty(AXIS + LANES, dtype=np.float32)
    rays = np.empty((LANES, 3), dtype=np.float64)
    reach = np.empty(LANES, dtype=np.float64)
    index = np.empty(LANES, dtype=np.int32)
    place = np.empty((LANES, 3), dtype=np.int64)
    axes = np.empty(LANES, dtype=np.int64)
    for start in range(0, height * width, LANES):
        count = min(LANES, height * width - start)
        for ray in range(count):
            row, column = (start + ray) // width, (start + ray) % width
            u = half * ((2.0 * column + 1.0) - width) / height
            v = half * (1.0 - (2.0 * row + 1.0) / height)
            square = 0.0
            for i in range(3):
                along = camera[1, i] + u * camera[2, i] + v * camera[3, i]
                # A ray along a plane of the grid divides by zero; a billionth of a block is nothing.
                along = along if abs(along) >= 1e-9 else 1e-9
                square += along * along
                rays[ray, i] = along
                lanes[D + i * LANES + ray] = np.float32(along)
                lanes[INVERSE + i * LANES + ray] = np.float32(1.0 / along)
            reach[ray] = view / np.sqrt(square)
            lanes[REACH + ray] = np.float32(reach[ray])
            lanes[RAY + ray] = np.float32(ray)
        _march(cells, eye, lanes, index, count, place, axes)

        for ray in range(count):
            row, column = (start + ray) // width, (start + ray) % width
            dx, dy, dz = rays[ray, 0], rays[ray, 1], rays[ray, 2]
            length = view / reach[ray]
            axis = axes[ray]
            ix, iy, iz = place[ray, 0], place[ray, 1], place[ray, 2]
            # Again in double precision, for a steady picture close by.
            if axis == 0:
                t = ((ix if dx > 0.0 else ix + 1) - ox) / dx
            elif axis == 1:
                t = ((iy if dy > 0.0 else iy + 1) - oy) / dy
            else:
                t = ((iz if dz > 0.0 else iz + 1) - oz) / dz
            code = OUTSIDE if axis < 0 else np.int64(cells[ix, iz, iy])
            red, green, blue = _DEEP
            wet_red, wet_green, wet_blue = 0.0, 0.0, 0.0
            hit = t
            wet = code == FIRST_BLOCK + WATER
            if wet or (code == OUTSIDE and axis >= 0 and dy < 0.0 and (sea - oy) / dy < reach[ray]):
                # Water: of a lake or, beyond the map, of the open sea, whose surface is one plane.
                light = 1.0
                if wet:
                    light = _X_FACE if axis == 0 else (_Z_FACE if axis == 2 else 1.0)
                    at = _texel(ox + t * dx - ix, oz + t * dz - iz, _mip_level(pixel, t, length, dx, dy, dz, axis))
                    code, t, axis, ix, iy, iz = _sink(cells, eye, dx, dy, dz, t, axis, ix, iy, iz, reach[ray])
                else:
                    wet, hit, at = True, (sea - oy) / dy, _texel(0.5, 0.5, 4)
                water = faces[WATER, 0]
                wet_red = textures[water, at, 0] * light
                wet_green = textures[water, at, 1] * light
                wet_blue = textures[water, at, 2] * light

            if code != OUTSIDE:
                block = code - FIRST_BLOCK
                px, py, pz = ox + t * dx - ix, oy + t * dy - iy, oz + t * dz - iz
                # Across, down and light of the face, and the air before it, whose light falls on it.
                ax, ay, az = ix, iy, iz
                if axis == 0:
                    across, down, face, light = pz, 1.0 - py, 1, _X_FACE
                    ax += -1 if dx > 0.0 else 1
                elif axis == 2:
                    across, down, face, light = px, 1.0 - py, 1, _Z_FACE
                    az += -1 if dz > 0.0 else 1
                elif dy < 0.0:
                    across, down, face, light = px, pz, 0, 1.0
                    ay += 1
                else:
                    across, down, face, light = px, pz, 2, _BOTTOM
                    ay -= 1
                at = _texel(across, down, _mip_level(pixel, t, length, dx, dy, dz, axis))
                texture = faces[block, face]
                if ay < cover[ax, az]:
                    light *= _SHADE
                red = textures[texture, at, 0] * light
                green = textures[texture, at, 1] * light
                blue = textures[texture, at, 2] * light
                if tinted[block, face] == 1:
                    dry = dryness[ix, iz] / 255.0
                    red *= 0.84 + 0.42 * dry
                    green *= 0.96 + 0.06 * dry
                    blue *= 1.05 - 0.2 * dry
            if wet:
                # The deeper, the bluer.
                clear = 0.55 / (1.0 + 0.35 * (t - hit) * length) if code != OUTSIDE else 0.3
                red = wet_red + (red - wet_red) * clear
                green = wet_green + (green - wet_green) * clear
                blue = wet_blue + (blue - wet_blue) * clear
            fog = 1.0
            if wet or code != OUTSIDE:
                fog = min(max((hit * length / view - _FOG_START) / (1.0 - _FOG_START), 0.0), 1.0)
            if fog > 0.0:
                sky_red, sky_green, sky_blue = _sky(clouds, ox, oy, oz, dx, dy, dz, length)
                red += (sky_red - red) * fog
                green += (sky_green - green) * fog
                blue += (sky_blue - blue) * fog
            image[row, column, 0] = int(min(red, 255.0) + 0.5)
            image[row, column, 1] = int(min(green, 255.0) + 0.5)
            image[row, column, 2] = int(min(blue, 255.0) + 0.5)
