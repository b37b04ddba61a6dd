"""What every policy can do, and the actions that walkers speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

FORWARD, TURN_LEFT, TURN_RIGHT = 0, 1, 2
"""Ids of the discrete actions that the walkers speak; `WALK_ACTIONS` are their names."""
WALK_ACTIONS = ("forward", "turn_left", "turn_right")
VECTOR_COLUMNS = ("move", "strafe", "jump", "yaw_degrees", "pitch_degrees")
"""Columns that `RandomExplorer` speaks, as in BlockWorld."""


class Policy(Protocol):
    """Chooses one action a frame; everything it does follows from the generator given to `reset` and the poses seen."""

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode, with `rng` as the only source of chance."""

    def act(self, info: Mapping[str, Any]) -> Any:
        """Choose the next frame's action, given the engine's `info` on the frame before it.

        `info["pose"]`, where present, is float32 (5,): x, y, z in blocks, yaw and pitch in degrees.
        """
