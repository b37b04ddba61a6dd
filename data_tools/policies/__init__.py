"""Policies: what a recorded walker does, one action a frame."""

from __future__ import annotations

from functools import partial
from typing import Any

from data_tools.engine_process import ActionRange
from data_tools.policies.explore_return import EXPLORE_FRAMES, ExploreReturn
from data_tools.policies.free_walk import FreeWalk
from data_tools.policies.look_back import LOOK_BACK_GAPS, LOOK_FRAMES, LookBack
from data_tools.policies.loop_walk import LoopWalk
from data_tools.policies.policy import FORWARD, TURN_LEFT, TURN_RIGHT, VECTOR_COLUMNS, WALK_ACTIONS, Policy
from data_tools.policies.random_explorer import RandomExplorer
from data_tools.policies.uniform import Uniform
from mstv.errors import UserError

__all__ = [
    "EXPLORE_FRAMES",
    "FORWARD",
    "LOOK_BACK_GAPS",
    "LOOK_FRAMES",
    "POLICIES",
    "TURN_LEFT",
    "TURN_RIGHT",
    "ExploreReturn",
    "FreeWalk",
    "LookBack",
    "LoopWalk",
    "Policy",
    "RandomExplorer",
    "Uniform",
    "make_policy",
]

POLICIES: dict[str, type[Policy]] = {
    "loopwalk": LoopWalk,
    "free-walk": FreeWalk,
    "random": RandomExplorer,
    "uniform": Uniform,
    "explore-return": ExploreReturn,
    "look-back": LookBack,
}


def make_policy(name: str, actions: ActionRange, hold: int | None = None, episode: int = 0) -> Policy:
    """A policy that speaks the actions of an engine.

    Args:
        name: in `POLICIES`.
        actions: what the engine takes.
        hold: frames for which one action is held; None is the policy's own number.
        episode: its number; the gap of look-back follows from it.

    Raises:
        UserError: the policy does not speak them, or holds none.
    """
    policy: Any = POLICIES[name]
    if hold is not None and issubclass(policy, RandomExplorer):
        raise UserError(f"policy {name}: holds no action for a fixed time: leave --hold out, or use --policy loopwalk")
    if policy is LookBack:
        policy = partial(policy, episode)
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
