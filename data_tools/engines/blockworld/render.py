"""The ray caster: one ray a pixel through the cells of a world, on one core.

Only IEEE + - * / sqrt and comparisons reach a pixel, in a fixed order and without fused multiply-add, so a frame is
the same bytes on every x86-64 machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_tools.engines.blockworld.blocks import face_textures, tinted_faces
from data_tools.engines.blockworld.kernel import kernel
from data_tools.engines.blockworld.terrain import SEA_LEVEL
from data_tools.engines.blockworld.textures import build_textures
from data_tools.engines.blockworld.trig import sin_cos
from data_tools.engines.blockworld.world import World

# Kernels may read constants of this file only (see kernel.py); the tests hold these two against their sources.
FIRST_BLOCK = 64
WATER = 1

_CLOUD_HEIGHT = 72.0
_CLOUD_SIDE = 7.0
_CLOUD_REACH = 260.0
_FOG_START = 0.55  # as a fraction of the view distance
_SHADE = 0.68  # brightness under a roof or a tree
_ZENITH = (104.0, 158.0, 255.0)
_HORIZON = (190.0, 215.0, 255.0)
_DEEP = (24.0, 52.0, 132.0)
_X_FACE, _Z_FACE, _BOTTOM = 0.66, 0.82, 0.5
_OUTSIDE, _REACHED = -1, -2


@kernel
def _walk(cells, ox, oy, oz, dx, dy, dz, t, axis, ix, iy, iz, reach, in_water):
    """Follow a ray from cell (ix, iy, iz), entered at t through `axis`, to the first block that stops it.

    Returns (block, t, axis, ix, iy, iz), where block is _OUTSIDE or _REACHED (past `reach`) if none does. With
    `in_water`, water does not stop the ray.
    """
    size_x, size_z, size_y = cells.shape
    inv_x, inv_y, inv_z = 1.0 / dx, 1.0 / dy, 1.0 / dz
    while True:
        cell = np.int64(cells[ix, iz, iy])
        leap = 0
        if cell < FIRST_BLOCK:
            leap = cell
        elif not (in_water and cell == FIRST_BLOCK + WATER):
            return cell - FIRST_BLOCK, t, axis, ix, iy, iz
        # Where the ray leaves the cube of air around this cell.
        edge_x = ix + leap + 1 if dx > 0.0 else ix - leap
        edge_y = iy + leap + 1 if dy > 0.0 else iy - leap
        edge_z = iz + leap + 1 if dz > 0.0 else iz - leap
        tx, ty, tz = (edge_x - ox) * inv_x, (edge_y - oy) * inv_y, (edge_z - oz) * inv_z
        if tx < tz:
            if tx < ty:
                axis, t = 0, tx
            else:
                axis, t = 1, ty
        elif tz < ty:
            axis, t = 2, tz
        else:
            axis, t = 1, ty
        if t > reach:
            return _REACHED, t, axis, ix, iy, iz
        old_x, old_y, old_z = ix, iy, iz
        if leap > 0:
            # Rounding may land a hair outside the cube; a ray never skips what it has not seen.
            ix = min(max(int(ox + t * dx), old_x - leap), old_x + leap)
            iy = min(max(int(oy + t * dy), old_y - leap), old_y + leap)
            iz = min(max(int(oz + t * dz), old_z - leap), old_z + leap)
        if axis == 0:
            ix = old_x + leap + 1 if dx > 0.0 else old_x - leap - 1
            if ix < 0 or ix >= size_x:
                return _OUTSIDE, t, axis, ix, iy, iz
        elif axis == 1:
            iy = old_y + leap + 1 if dy > 0.0 else old_y - leap - 1
        else:
            iz = old_z + leap + 1 if dz > 0.0 else old_z - leap - 1
            if iz < 0 or iz >= size_z:
                return _OUTSIDE, t, axis, ix, iy, iz
        if iy < 0 or iy >= size_y:
            return _OUTSIDE, t, axis, ix, iy, iz


@kernel
def _sky(clouds, ox, oy, oz, dx, dy, dz, length):
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
            i = int((ox + t * dx) / _CLOUD_SIDE + 6400.0) % clouds.shape[0]
            j = int((oz + t * dz) / _CLOUD_SIDE + 6400.0) % clouds.shape[1]
            if clouds[i, j] == 1:
                white = 0.75 * (1.0 - away / _CLOUD_REACH)
                red += (255.0 - red) * white
                green += (255.0 - green) * white
                blue += (255.0 - blue) * white
    return red, green, blue


@kernel
def _texel(textures, texture, u, v, level):
    """Row of `textures` at (u across, v down), each in [0, 1], on a mip level: (red, green, blue) in [0, 255]."""
    side = 16 >> level
    start = 0
    for above in range(level):
        start += (16 >> above) * (16 >> above)
    column = min(int(u * side), side - 1)
    row = min(int(v * side), side - 1)
    at = start + row * side + column
    return float(textures[texture, at, 0]), float(textures[texture, at, 1]), float(textures[texture, at, 2])


@kernel
def _surface(textures, faces, tinted, cover, dryness, block, axis, ix, iy, iz, px, py, pz, dx, dy, dz, blur):
    """Lit colour, in [0, 255], of the face of `block` at point (px, py, pz) that a ray met through `axis`.

    `blur` is the squared number of texels under a pixel, and picks the mip level.
    """
    light, face = 1.0, 1
    # The air before the face, whose light falls on it.
    ax, ay, az = ix, iy, iz
    if axis == 0:
        u, v, light = pz - iz, 1.0 - (py - iy), _X_FACE
        ax += -1 if dx > 0.0 else 1
    elif axis == 2:
        u, v, light = px - ix, 1.0 - (py - iy), _Z_FACE
        az += -1 if dz > 0.0 else 1
    elif dy < 0.0:
        u, v, face = px - ix, pz - iz, 0
        ay += 1
    else:
        u, v, face, light = px - ix, pz - iz, 2, _BOTTOM
        ay -= 1
    u, v = min(max(u, 0.0), 1.0), min(max(v, 0.0), 1.0)
    level = 0
    threshold = 2.0
    while level < 4 and blur > threshold:
        level += 1
        threshold *= 4.0
    red, green, blue = _texel(textures, faces[block, face], u, v, level)
    if 0 <= ax < cover.shape[0] and 0 <= az < cover.shape[1] and ay < cover[ax, az]:
        light *= _SHADE
    if tinted[block, face] == 1:
        dry = dryness[ix, iz] / 255.0
        red *= 0.84 + 0.42 * dry
        green *= 0.96 + 0.06 * dry
        blue *= 1.05 - 0.2 * dry
    return red * light, green * light, blue * light


@kernel
def _render(cells, cover, dryness, clouds, textures, faces, tinted, camera, view, half, sea, image):
    """Fill uint8 `image` (height, width, 3).

    Rows of `camera` (4, 3) are the eye, forward, right and up, as x, y, z; `half` is the tangent of half the vertical
    field of view and `view` the view distance in blocks.
    """
    height, width = image.shape[0], image.shape[1]
    ox, oy, oz = camera[0]
    fx, fy, fz = camera[1]
    rx, ry, rz = camera[2]
    ux, uy, uz = camera[3]
    texels = 16.0 * 2.0 * half / height  # a pixel's size in texels at distance 1
    start_x, start_y, start_z = int(ox), int(oy), int(oz)
    for row in range(height):
        v = half * (1.0 - (2.0 * row + 1.0) / height)
        for column in range(width):
            u = half * ((2.0 * column + 1.0) - width) / height
            dx = fx + u * rx + v * ux
            dy = fy + u * ry + v * uy
            dz = fz + u * rz + v * uz
            # A ray along a plane of the grid divides by zero; a billionth of a block is nothing.
            if abs(dx) < 1e-9:
                dx = 1e-9
            if abs(dy) < 1e-9:
                dy = 1e-9
            if abs(dz) < 1e-9:
                dz = 1e-9
            length = np.sqrt(dx * dx + dy * dy + dz * dz)
            reach = view / length
            block, t, axis, ix, iy, iz = _walk(
                cells, ox, oy, oz, dx, dy, dz, 0.0, 1, start_x, start_y, start_z, reach, False
            )
            red, green, blue = 0.0, 0.0, 0.0
            wet = block == WATER
            hit = t
            if wet:
                flat = abs(dx) if axis == 0 else (abs(dy) if axis == 1 else abs(dz))
                blur = texels * texels * t * t * length / flat
                water = _surface(
                    textures, faces, tinted, cover, dryness, WATER, axis, ix, iy, iz,
                    ox + t * dx, oy + t * dy, oz + t * dz, dx, dy, dz, blur,
                )  # fmt: skip
                block, t, axis, ix, iy, iz = _walk(cells, ox, oy, oz, dx, dy, dz, t, axis, ix, iy, iz, reach, True)
            elif block < 0 and dy < 0.0:
                # Beyond the map lies open sea.
                t_sea = (sea - oy) / dy
                if t_sea < reach and block == _OUTSIDE:
                    wet, hit = True, t_sea
                    blur = texels * texels * t_sea * t_sea * length / -dy
                    water = _surface(
                        textures, faces, tinted, cover, dryness, WATER, 1, 0, int(sea), 0,
                        0.5, 0.5, 0.5, dx, dy, dz, 1e9,
                    )  # fmt: skip
            if block > 0:
                flat = abs(dx) if axis == 0 else (abs(dy) if axis == 1 else abs(dz))
                blur = texels * texels * t * t * length / flat
                red, green, blue = _surface(
                    textures, faces, tinted, cover, dryness, block, axis, ix, iy, iz,
                    ox + t * dx, oy + t * dy, oz + t * dz, dx, dy, dz, blur,
                )  # fmt: skip
            elif wet:
                red, green, blue = _DEEP
            if wet:
                # The deeper, the bluer.
                clear = 0.55 / (1.0 + 0.35 * (t - hit) * length) if block > 0 else 0.3
                red = water[0] + (red - water[0]) * clear
                green = water[1] + (green - water[1]) * clear
                blue = water[2] + (blue - water[2]) * clear
            fog = 1.0
            if block > 0 or wet:
                fog = min(max((hit * length / view - _FOG_START) / (1.0 - _FOG_START), 0.0), 1.0)
            if fog > 0.0:
                sky = _sky(clouds, ox, oy, oz, dx, dy, dz, length)
                red += (sky[0] - red) * fog
                green += (sky[1] - green) * fog
                blue += (sky[2] - blue) * fog
            image[row, column, 0] = int(min(red, 255.0) + 0.5)
            image[row, column, 1] = int(min(green, 255.0) + 0.5)
            image[row, column, 2] = int(min(blue, 255.0) + 0.5)


@dataclass(frozen=True)
class Eye:
    """Where the camera is: x, y, z in blocks, yaw and pitch in integer millidegrees (conventions in `env.py`)."""

    x: float
    y: float
    z: float
    yaw: int
    pitch: int

    def axes(self) -> NDArray[np.float64]:
        """Rows: position, forward, right and up, each x, y, z; shape (4, 3)."""
        sin_yaw, cos_yaw = sin_cos(self.yaw)
        sin_pitch, cos_pitch = sin_cos(self.pitch)
        return np.array(
            [
                [self.x, self.y, self.z],
                [-sin_yaw * cos_pitch, -sin_pitch, cos_yaw * cos_pitch],
                [-cos_yaw, 0.0, -sin_yaw],
                [-sin_yaw * sin_pitch, cos_pitch, cos_yaw * sin_pitch],
            ]
        )


class Renderer:
    """Draws frames of a world.

    Args:
        height, width: frame size in pixels, each >= 1.
        fov: vertical field of view in degrees, in [10, 150], taken to the nearest thousandth.
        view_distance: how far one sees, in blocks, > 0.
    """

    def __init__(self, height: int, width: int, fov: float, view_distance: float) -> None:
        self.shape = (height, width, 3)
        self._view = float(view_distance)
        sine, cosine = sin_cos(int(fov * 500 + 0.5))
        self._half = sine / cosine
        self._textures = build_textures()
        self._faces = face_textures()
        self._tinted = tinted_faces()

    def draw(self, world: World, eye: Eye) -> NDArray[np.uint8]:
        """Draw a new uint8 frame (height, width, 3), RGB. The eye must be inside the map and outside blocks."""
        image = np.empty(self.shape, dtype=np.uint8)
        _render(
            world.cells, world.cover, world.dryness, world.clouds, self._textures, self._faces, self._tinted,
            eye.axes(), self._view, self._half, float(SEA_LEVEL), image,
        )  # fmt: skip
        return image
