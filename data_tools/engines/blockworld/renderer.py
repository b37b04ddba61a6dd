"""The renderer: from a world and an eye to a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_tools.engines.blockworld.blocks import face_textures, tinted_faces
from data_tools.engines.blockworld.raycast import render_frame
from data_tools.engines.blockworld.terrain import SEA_LEVEL
from data_tools.engines.blockworld.textures import build_textures
from data_tools.engines.blockworld.trig import sin_cos
from data_tools.engines.blockworld.world import World


@dataclass(frozen=True)
class Eye:
    """Where the camera is: x, y, z in blocks, yaw and pitch in integer millidegrees (conventions in `env.py`)."""

    x: float
    y: float
    z: float
    yaw: int
    pitch: int

    def axes(self) -> NDArray[np.float64]:
        """Rows: position in padded cells (see `cells.py`), forward, right and up, each x, y, z; shape (4, 3)."""
        sin_yaw, cos_yaw = sin_cos(self.yaw)
        sin_pitch, cos_pitch = sin_cos(self.pitch)
        return np.array(
            [
                [self.x + 1.0, self.y + 1.0, self.z + 1.0],
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
        """Draw a new uint8 frame (height, width, 3), RGB; from inside a block as if that one block were air.

        Raises:
            ValueError: the eye is outside the map, or not finite.
        """
        # Written so that NaN fails too.
        if not (0 <= eye.x < world.size and 0 <= eye.y < world.height and 0 <= eye.z < world.size):
            raise ValueError(
                f"the eye at {eye.x}, {eye.y}, {eye.z} must be inside the map of {world.size} x {world.height} x "
                f"{world.size} blocks"
            )
        image = np.empty(self.shape, dtype=np.uint8)
        render_frame(
            world.cells, world.cover, world.dryness, world.clouds, self._textures, self._faces, self._tinted,
            eye.axes(), self._view, self._half, float(SEA_LEVEL + 1), image,
        )  # fmt: skip
        return image
