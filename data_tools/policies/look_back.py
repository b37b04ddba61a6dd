"""Looks at a place, away for a while, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data_tools.policies.loop_walk import LoopWalk
from data_tools.policies.policy import TURN_LEFT, TURN_RIGHT

LOOK_FRAMES = 256
"""Frames before it first looks away: a walk, then a long look at one place."""
LOOK_BACK_GAPS = (8, 16, 32, 64, 128, 256, 512)
"""Frames from the last one that shows the place to the first that shows it again."""


class LookBack:
    """A memory test with controlled gaps: walks, looks at a place, looks away for `gap` frames, and back, ever again.

    The walk is that of `LoopWalk`. To look is to sway to the left by up to three frames of turning and back; between
    two looks it turns away to the right, by half a circle where the gap leaves time for it (with a gap of 8 frames by
    four frames of turning), sways there, and turns back. It turns in one spot alone, so that poses come back bit for
    bit where an engine's turns are exact: the frame seen last as it looked away returns exactly `gap` frames later, the
    rest of a look up to 6 frames after that. No sway takes more than 6 frames, so that none is a revisit of its own.

    Args:
        episode: number of the episode, from which the gap follows: any 7 episodes in a row have all gaps.
        hold: frames for which the walk holds an action, and those of a turn by 90 degrees, >= 1.

    Attributes:
        gap: of this episode, in `LOOK_BACK_GAPS`.

    Raises:
        ValueError: `hold` below 1.
    """

    _LOOK = 6  # frames of a look after the first one
    _LONG_LOOK = 60  # frames of the first look; both are whole sways of 1, 2 or 3 frames to each side

    def __init__(self, episode: int = 0, hold: int = 9) -> None:
        self._walk = LoopWalk(hold)
        self.hold = hold
        count = len(LOOK_BACK_GAPS)
        # Shifted from one seven to the next: where worlds repeat after 7 or 14 episodes, each world gets every gap.
        self.gap = LOOK_BACK_GAPS[(episode + episode // count) % count]
        self._actions: Iterator[int] | None = None

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._walk.reset(rng)
        self._actions = self._plan()

    def act(self, info: Mapping[str, Any] | None = None) -> int:
        """Return the next discrete action.

        Raises:
            RuntimeError: before the first reset.
        """
        if self._actions is None:
            raise RuntimeError("call reset(rng) before act()")
        return next(self._actions)

    def _plan(self) -> Iterator[int]:
        for _ in range(LOOK_FRAMES - 1 - self._LONG_LOOK):
            yield self._walk.act()
        yield from self._sway(self._LONG_LOOK)
        away = min(self.gap // 2, 2 * self.hold)
        while True:
            yield from [TURN_RIGHT] * away
            yield from self._sway(self.gap - 2 * away)
            yield from [TURN_LEFT] * away
            yield from self._sway(self._LOOK)

    def _sway(self, frames: int) -> Iterator[int]:
        """To the left and back, for an even number of frames."""
        widest = min(3, self.hold)
        while frames:
            side = min(widest, frames // 2)
            yield from [TURN_LEFT] * side + [TURN_RIGHT] * side
            frames -= 2 * side
