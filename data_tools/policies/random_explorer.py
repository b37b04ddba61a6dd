"""An explorer with a calm camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data_tools.policies.policy import FORWARD, TURN_LEFT, TURN_RIGHT


class RandomExplorer:
    """Walks mostly forward with a calm camera, and turns away from what blocks it.

    Args:
        action_mode: "discrete" (ids `FORWARD`, `TURN_LEFT`, `TURN_RIGHT`) or "vector" (float32 (5,): move, strafe,
            jump, yaw degrees, pitch degrees, as in BlockWorld).
        speed: blocks a frame of a vector walk, in (0, 1].

    Raises:
        ValueError: an unknown action mode, or a speed out of range.
    """

    _STUCK = 0.02  # blocks moved in a frame below which the way is blocked
    _STRAIGHT = (9, 54)  # frames of a stretch between turns
    _TURN = (3, 14)  # frames of a turn, 10 degrees each

    def __init__(self, action_mode: Literal["discrete", "vector"] = "discrete", speed: float = 0.11) -> None:
        if action_mode not in ("discrete", "vector"):
            raise ValueError(f"action_mode must be 'discrete' or 'vector', got {action_mode!r}")
        if not 0 < speed <= 1:
            raise ValueError(f"speed must be in (0, 1] blocks a frame, got {speed}")
        self.action_mode = action_mode
        self.speed = speed
        self._rng: np.random.Generator | None = None

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._rng = rng
        self._last: NDArray[np.float32] | None = None
        self._walking = False
        self._turning, self._side = 0, 1
        self._straight = int(rng.integers(*self._STRAIGHT))
        self._yaw_rate, self._aim = 0.0, 0.0

    def act(self, info: Mapping[str, Any]) -> int | NDArray[np.float32]:
        """Choose the next action; without `info["pose"]` nothing ever looks blocked.

        Raises:
            RuntimeError: before the first reset.
        """
        if self._rng is None:
            raise RuntimeError("call reset(rng) before act()")
        pose = info.get("pose")
        blocked = False
        if pose is not None:
            if self._last is not None and self._walking:
                away = np.asarray(pose[:3], np.float64) - self._last[:3]
                blocked = bool(np.abs(away).max() < self._STUCK)
            self._last = np.array(pose, np.float32)
        self._plan(self._rng, blocked)
        self._walking = self._turning == 0
        if self.action_mode == "vector":
            return self._vector(self._rng, 0.0 if pose is None else float(pose[4]), blocked)
        if self._walking:
            return FORWARD
        return TURN_RIGHT if self._side > 0 else TURN_LEFT

    def _plan(self, rng: np.random.Generator, blocked: bool) -> None:
        """Count down the present stretch or turn, and begin the next."""
        if self._turning:
            self._turning -= 1
            if self._turning == 0:
                self._straight = int(rng.integers(*self._STRAIGHT))
            return
        self._straight -= 1
        if blocked or self._straight <= 0:
            low, high = self._TURN
            self._turning = int(rng.integers(low + 5 * blocked, high))
            self._side = 1 if rng.integers(2) else -1

    def _vector(self, rng: np.random.Generator, pitch: float, blocked: bool) -> NDArray[np.float32]:
        wanted = 8.0 * self._side if self._turning else float(rng.normal(0.0, 1.5))
        self._yaw_rate += 0.25 * (wanted - self._yaw_rate)
        if rng.random() < 0.02:
            self._aim = float(rng.uniform(-12.0, 20.0))
        look = min(max(0.08 * (self._aim - pitch), -2.0), 2.0)
        move = self.speed if self._walking else 0.3 * self.speed
        jump = float(blocked or rng.random() < 0.004)
        return np.array([move, 0.0, jump, self._yaw_rate, look], np.float32)
