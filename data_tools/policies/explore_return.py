"""Explores, then walks back the same way."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.policies.policy import FORWARD, TURN_LEFT, TURN_RIGHT
from mstv.errors import UserError

EXPLORE_FRAMES = 256
"""Frames of the exploring part, the first one included."""


class ExploreReturn:
    """Explores for `EXPLORE_FRAMES` frames, then turns round and walks back to where it began, place by place.

    It explores in legs of 1 to 3 blocks, which end where the way is blocked; at the end of each it turns by three
    quarters of a circle, so that it sees all around and goes on at a right angle. On the way back, at a right angle, it
    turns the short way, through what it saw there. So the poses of its turns come back bit for bit where an engine's
    steps are exact, and its steps show what it saw in passing from the other side. Then it looks all around, until the
    episode ends; so it does where the way back is barred, as by a step that it fell down.

    Args:
        hold: frames in which the engine walks a block or turns by 90 degrees, >= 1.

    Raises:
        ValueError: `hold` below 1.
    """

    BLOCKS = (1, 2, 3)
    _MOVED = 0.02  # blocks; less is no step

    def __init__(self, hold: int = 9) -> None:
        if hold < 1:
            raise ValueError(f"hold must be >= 1 frame, got {hold}")
        self.hold = hold
        self._actions: Generator[int, None, None] | None = None

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._actions = self._walk(rng)
        self._pose: NDArray[np.float64] | None = None
        self._last = FORWARD
        self._moved = True

    def act(self, info: Mapping[str, Any]) -> int:
        """Choose the next action; without `info["pose"]` no way ever looks blocked.

        Raises:
            RuntimeError: before the first reset.
            UserError: the engine turns by another angle than `hold` says.
        """
        if self._actions is None:
            raise RuntimeError("call reset(rng) before act()")
        pose = info.get("pose")
        if pose is not None:
            self._see(np.asarray(pose, np.float64))
        self._last = next(self._actions)
        return self._last

    def _see(self, pose: NDArray[np.float64]) -> None:
        before, self._pose = self._pose, pose
        if before is None:
            return
        self._moved = bool(np.abs(pose[[0, 2]] - before[[0, 2]]).max() > self._MOVED)
        turned = abs((pose[3] - before[3] + 180) % 360 - 180)
        if self._last != FORWARD and abs(turned * self.hold - 90) > 1:
            raise UserError(
                f"policy explore-return: the engine turns by {turned:g} degrees a frame, which makes no right angle in "
                f"{self.hold}: give --hold the frames that it takes for 90 degrees"
            )

    def _walk(self, rng: np.random.Generator) -> Generator[int, None, None]:
        circle = 4 * self.hold
        heading = 0  # in turns of one frame, to the right
        steps = []  # heading of each step that was made
        exploration = self._explore(rng)
        for _ in range(EXPLORE_FRAMES - 1):
            action = next(exploration)
            yield action
            if action != FORWARD:
                heading = (heading + (1 if action == TURN_RIGHT else -1)) % circle
            elif self._moved:
                steps.append(heading)
        for step in reversed(steps):
            right = (step + circle // 2 - heading) % circle
            heading = (heading + right) % circle
            yield from [TURN_RIGHT] * right if right <= circle // 2 else [TURN_LEFT] * (circle - right)
            yield FORWARD
            if not self._moved:
                break
        while True:
            yield TURN_RIGHT

    def _explore(self, rng: np.random.Generator) -> Iterator[int]:
        while True:
            for _ in range(int(rng.choice(self.BLOCKS)) * self.hold):
                yield FORWARD
                if not self._moved:
                    break
            yield from [int(rng.choice((TURN_LEFT, TURN_RIGHT)))] * (3 * self.hold)
