"""The walk of the paper's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data_tools.policies.policy import FORWARD, TURN_LEFT, TURN_RIGHT


class LoopWalk:
    """The walk of the paper's Minecraft data set: bundles of turns and steps that keep coming back.

    A bundle has t turns, t = 1, 2, 3, 4 with probability .1, .3, .1, .5, all to one side (left or right, evenly), and
    f forwards, f uniform on the integers of [t, 3t). One of the forwards comes first; the other f - 1 and the turns
    are shuffled behind it. Each action is held for `hold` frames. Ignores what it sees.

    Args:
        hold: frames for which one action is held, >= 1.

    Raises:
        ValueError: `hold` below 1.
    """

    TURNS = (1, 2, 3, 4)
    TURN_PROBABILITIES = (0.1, 0.3, 0.1, 0.5)

    def __init__(self, hold: int = 9) -> None:
        if hold < 1:
            raise ValueError(f"hold must be >= 1 frame, got {hold}")
        self.hold = hold
        self._frames: Iterator[int] | None = None

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._frames = self._held(rng)

    def act(self, info: Mapping[str, Any] | None = None) -> int:
        """Return the next discrete action.

        Raises:
            RuntimeError: before the first reset.
        """
        if self._frames is None:
            raise RuntimeError("call reset(rng) before act()")
        return next(self._frames)

    @classmethod
    def bundle(cls, rng: np.random.Generator) -> list[int]:
        """Draw the actions of one bundle, not yet held."""
        turns = int(rng.choice(cls.TURNS, p=cls.TURN_PROBABILITIES))
        forwards = int(rng.integers(turns, 3 * turns))
        direction = int(rng.choice((TURN_LEFT, TURN_RIGHT)))
        rest = [FORWARD] * (forwards - 1) + [direction] * turns
        return [FORWARD, *(int(action) for action in rng.permutation(rest))]

    def _held(self, rng: np.random.Generator) -> Iterator[int]:
        while True:
            for action in self.bundle(rng):
                for _ in range(self.hold):
                    yield action
