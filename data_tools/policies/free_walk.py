"""The walk of the paper's data without the steps that lead nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from data_tools.policies.loop_walk import LoopWalk
from data_tools.policies.policy import FORWARD


class FreeWalk(LoopWalk):
    """`LoopWalk` that remembers where its way was barred, and leaves out the steps that it knows to lead nowhere.

    A small closed world seen by `LoopWalk` stands still for half of its frames, which teach a model only to repeat the
    frame before. Here each place and heading is tried once. It remembers what comes back bit for bit, which takes an
    engine whose steps are exact.

    Args:
        hold: frames for which one action is held, >= 1.

    Raises:
        ValueError: `hold` below 1.
    """

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode."""
        super().reset(rng)
        self._barred: set[bytes] = set()
        self._before = b""  # the pose in which the last action was chosen
        self._last: int | None = None

    def act(self, info: Mapping[str, Any] | None = None) -> int:
        """Return the next discrete action; without `info["pose"]` it walks as `LoopWalk` does.

        Raises:
            RuntimeError: before the first reset.
        """
        pose = (info or {}).get("pose")
        here = b"" if pose is None else np.asarray(pose, np.float32).tobytes()
        action = super().act()
        if here:
            if self._last == FORWARD and here == self._before:
                self._barred.add(here)
            while action == FORWARD and here in self._barred:
                action = super().act()
            self._before, self._last = here, action
        return action
