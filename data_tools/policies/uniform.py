"""Anything that an engine takes, drawn evenly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.engine_process import ActionRange


class Uniform:
    """Draws actions evenly from all that an engine takes, and holds each for some frames; for any engine.

    Args:
        actions: what the engine takes; a column without bounds is drawn from a standard normal.
        hold: frames for which one action is held, >= 1.

    Raises:
        ValueError: `hold` below 1.
    """

    def __init__(self, actions: ActionRange, hold: int = 4) -> None:
        if hold < 1:
            raise ValueError(f"hold must be >= 1 frame, got {hold}")
        self._actions = actions
        self.hold = hold
        self._rng: np.random.Generator | None = None

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._rng = rng
        self._left = 0

    def act(self, info: Mapping[str, Any]) -> int | NDArray[np.float32]:
        """Return the next action.

        Raises:
            RuntimeError: before the first reset.
        """
        if self._rng is None:
            raise RuntimeError("call reset(rng) before act()")
        if self._left == 0:
            self._held, self._left = self._draw(self._rng), self.hold
        self._left -= 1
        return self._held

    def _draw(self, rng: np.random.Generator) -> int | NDArray[np.float32]:
        actions = self._actions
        if actions.spec.kind == "discrete":
            return int(rng.integers(actions.spec.size))
        bounded = np.isfinite(actions.low) & np.isfinite(actions.high)
        # A whole number is rounded from the widened range, so that its ends are as likely as the rest.
        margin = np.where(actions.whole, 0.5, 0.0)
        low, high = np.where(bounded, actions.low - margin, -1), np.where(bounded, actions.high + margin, 1)
        drawn = np.where(bounded, rng.uniform(low, high), rng.standard_normal(len(low)))
        drawn = np.where(actions.whole, np.rint(drawn), drawn)
        return np.clip(drawn, actions.low, actions.high).astype(np.float32)
