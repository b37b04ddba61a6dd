"""Any Gymnasium environment that shows RGB pictures, and our own engines, which take a size and a world."""

import inspect
from typing import Any, Dict, List, Optional, Tuple

import gymnasium
import numpy as np

from .adapter import ActionColumns, Adapter, MissingError, SettingsError, View
from .columns import SpaceColumns


class GymnasiumAdapter(Adapter):
    """Serves a registered Gymnasium environment.

    Environments whose constructor takes `size` and `action_mode` are our own: they are given both, and choose their
    world by `reset(options={"world": int})`. Others are made with `render_mode="rgb_array"`; their frames are their
    observations where those are pictures, else what they render; a reset's seed is the world.

    Args:
        env_id: id in Gymnasium's registry; `module:id` imports the module first.
        size: (H, W) in pixels, for our own.
        action_mode: "discrete" or "vector", for our own; others have what their action space says.
        options: further arguments of the environment's constructor.
    """

    def __init__(self, env_id: str, size: Tuple[int, int], action_mode: str, options: Dict[str, Any]) -> None:
        try:
            self._ours = _takes_size(env_id)
            given = {"size": size, "action_mode": action_mode} if self._ours else {"render_mode": "rgb_array"}
            self._env = gymnasium.make(env_id, disable_env_checker=True, **{**given, **options})
        except (gymnasium.error.UnregisteredEnv, gymnasium.error.DependencyNotInstalled) as error:
            raise MissingError(str(error)) from error
        except (gymnasium.error.Error, ValueError, TypeError) as error:
            raise SettingsError(str(error)) from error
        unwrapped: Any = self._env.unwrapped
        self.fps = float(self._env.metadata.get("render_fps") or 20.0)
        space = self._env.action_space
        self._columns: Optional[SpaceColumns] = None
        if isinstance(space, gymnasium.spaces.Discrete):
            self._first = int(space.start)
            self.actions = ActionColumns(
                "discrete", _names(unwrapped, int(space.n)), tuple(unwrapped.action_units) if self._ours else ()
            )
        elif self._ours:
            box: Any = space
            self.actions = ActionColumns(
                "vector",
                tuple(unwrapped.action_names),
                tuple(unwrapped.action_units),
                box.low.tolist(),
                box.high.tolist(),
                [False] * len(box.low),
            )
        else:
            self._columns = SpaceColumns(space)
            self.actions = self._columns.actions
        module = type(unwrapped).__module__.partition(".")[0]
        self.packages = getattr(unwrapped, "packages", ("gymnasium", module, "numpy"))
        self.programs = tuple(getattr(unwrapped, "programs", {}).items())

    def reset(self, seed: int, world: int) -> View:
        """Begin an episode."""
        try:
            if self._ours:
                return self._view(*self._env.reset(seed=seed, options={"world": world}), False)
            return self._view(*self._env.reset(seed=world), False)
        except gymnasium.error.DependencyNotInstalled as error:
            # Some look for what they draw with only when they draw.
            raise MissingError(str(error)) from error

    def step(self, action: Any) -> View:
        """Live through one frame."""
        if self.actions.kind == "discrete":
            taken: Any = int(action) + self._first
        elif self._columns is not None:
            taken = self._columns.build(action)
        else:
            taken = np.asarray(action, np.float32)
        seen, _, terminated, truncated, info = self._env.step(taken)
        return self._view(seen, info, bool(terminated or truncated))

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _view(self, seen: Any, info: Dict[str, Any], ended: bool) -> View:
        frame = seen.get("pov") if isinstance(seen, dict) else seen
        if not (isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3):
            frame = np.asarray(self._env.render())
        pose: Any = info.get("pose")
        return View(frame, _pose(pose), ended)


def _takes_size(env_id: str) -> bool:
    module, _, name = env_id.rpartition(":")
    if module:
        __import__(module)
    entry = gymnasium.spec(name).entry_point
    made = gymnasium.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
    parameters = inspect.signature(made).parameters if callable(made) else {}
    return {"size", "action_mode"} <= set(parameters)


def _names(env: Any, count: int) -> List[str]:
    """Names of discrete actions: our own engines' and Atari's say them."""
    if len(getattr(env, "action_names", ())) == count:
        return list(env.action_names)
    meanings = getattr(env, "get_action_meanings", None)
    if meanings is not None and len(meanings()) == count:
        return [str(name).lower() for name in meanings()]
    return [f"action_{number}" for number in range(count)]


def _pose(pose: Any) -> Optional[List[float]]:
    if pose is None:
        return None
    if np.shape(pose) != (5,):
        raise SettingsError(
            f'info["pose"] has the shape {np.shape(pose)}: give x, y, z in blocks, yaw and pitch in degrees, or no pose'
        )
    return [float(value) for value in pose]
