"""MineRL 0.4 and 1.0: Minecraft behind the old Gym interface, with dicts of actions and observations."""

import contextlib
from typing import Any, Dict, Tuple

import gym
import minerl  # noqa: F401 - registers its environments
import numpy as np

from .adapter import Adapter, SettingsError, View
from .minecraft import MinecraftActions, pose, width_height

_LOCATION = "location_stats"


class MineRLAdapter(Adapter):
    """Serves one of MineRL's environments; a world is the seed of its map.

    Args:
        env_id: id in Gym's registry.
        size: (H, W) in pixels that is asked for; some environments have a fixed one all the same.
        action_mode: "discrete" or "vector".
        options: `env_id` may name another environment; others are further arguments of its constructor.

    Raises:
        SettingsError: an unknown environment, argument or action mode, or actions that are not a player's.
    """

    packages = ("minerl", "gym", "numpy")

    def __init__(self, env_id: str, size: Tuple[int, int], action_mode: str, options: Dict[str, Any]) -> None:
        options = dict(options)
        try:
            self._env = gym.make(options.pop("env_id", env_id), **options)
        except (gym.error.Error, ValueError, TypeError) as error:
            raise SettingsError(str(error)) from error
        self._space = self._env.action_space
        spaces = getattr(self._space, "spaces", {})
        if "camera" not in spaces:
            raise SettingsError("its actions hold no `camera`: choose an environment that is not obfuscated")
        self._actions = MinecraftActions(action_mode, spaces)
        self.actions = self._actions.columns
        _ask_for_more(getattr(self._env.unwrapped, "task", None), size)

    def reset(self, seed: int, world: int) -> View:
        """Begin an episode; nothing but the world is left to chance."""
        self._env.seed(world)
        return _view(self._env.reset(), False)

    def step(self, action: Any) -> View:
        """Live through one tick."""
        controls = self._actions.controls(action)
        taken = self._space.noop()
        taken.update(controls.keys)
        taken["camera"] = np.array([controls.pitch, controls.yaw], np.float32)
        seen, _, done, info = self._env.step(taken)
        if "error" in info:
            # MineRL answers with noise where it lost the game.
            raise RuntimeError("the game was lost: {}".format(info["error"]))
        return _view(seen, bool(done))

    def close(self) -> None:
        """End the game."""
        self._env.close()


def _ask_for_more(task: Any, size: Tuple[int, int]) -> None:
    """Ask for pictures of `size` and for the place of the player, where the environment can tell them.

    Both hold from the next reset on, which makes the environment's observations anew.
    """
    if task is None:
        return
    if hasattr(task, "resolution"):
        task.resolution = width_height(size)
    # AttributeError: MineRL's location wants a numpy that still has `np.int`.
    with contextlib.suppress(ImportError, AttributeError):
        from minerl.herobraine.hero.handlers import ObservationFromCurrentLocation

        ObservationFromCurrentLocation()
        create = task.create_observables

        def create_with_location() -> Any:
            observables = create()
            if all(observable.to_string() != _LOCATION for observable in observables):
                observables = [*observables, ObservationFromCurrentLocation()]
            return observables

        task.create_observables = create_with_location


def _view(seen: Dict[str, Any], ended: bool) -> View:
    place = seen.get(_LOCATION)
    at = None if place is None else pose(*(place[key] for key in ("xpos", "ypos", "zpos", "yaw", "pitch")))
    return View(np.asarray(seen["pov"]), at, ended)
