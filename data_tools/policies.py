"""Policies: what a recorded walker does, one action a frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from data_tools.engine_process import ActionRange
from mstv.errors import UserError

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


POLICIES: dict[str, type[LoopWalk] | type[RandomExplorer] | type[Uniform]] = {
    "loopwalk": LoopWalk,
    "random": RandomExplorer,
    "uniform": Uniform,
}


def make_policy(name: str, actions: ActionRange, hold: int | None = None) -> Policy:
    """A policy that speaks the actions of an engine.

    Args:
        name: in `POLICIES`.
        actions: what the engine takes.
        hold: frames for which one action is held; None is the policy's own number.

    Raises:
        UserError: the policy does not speak them, or holds none.
    """
    policy: Any = POLICIES[name]
    if hold is not None and issubclass(policy, RandomExplorer):
        raise UserError(f"policy {name}: holds no action for a fixed time: leave --hold out, or use --policy loopwalk")
    if hold is not None:
        policy = partial(policy, hold=hold)
    if name == "uniform":
        return policy(actions)
    spec = actions.spec
    if spec.kind == "discrete" and spec.names[: len(WALK_ACTIONS)] == WALK_ACTIONS:
        return policy()
    if spec.kind == "vector" and spec.names == VECTOR_COLUMNS and name == "random":
        return policy("vector")
    raise UserError(
        f"policy {name}: speaks no {spec.kind} actions with the names {', '.join(spec.names)}: "
        "use --policy uniform, or another --action-mode"
    )
