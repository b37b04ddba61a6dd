"""CraftGround 2: Minecraft behind the Gymnasium interface, with its own settings."""

import inspect
from typing import Any, Dict, Tuple

import craftground
import numpy as np
from craftground.environment.action_space import ActionSpaceVersion, no_op_v2
from craftground.initial_environment_config import DaylightMode, Difficulty, InitialEnvironmentConfig

from .adapter import Adapter, SettingsError, View
from .minecraft import CAMERA, MinecraftActions, pose, width_height


class CraftGroundAdapter(Adapter):
    """Serves CraftGround: a peaceful world in lasting daylight and fair weather, without the display of the game.

    A world is the seed of its map, which the game takes when it starts, so another world starts another game.

    Args:
        env_id: not used; there is one environment.
        size: (H, W) in pixels.
        action_mode: "discrete" or "vector".
        options: arguments of `InitialEnvironmentConfig`, such as render_distance.

    Raises:
        SettingsError: an unknown argument or action mode.
    """

    packages = ("craftground", "gymnasium", "numpy")

    def __init__(self, env_id: str, size: Tuple[int, int], action_mode: str, options: Dict[str, Any]) -> None:
        # The configuration takes any argument, and only prints those that it does not know.
        unknown = sorted(set(options) - set(inspect.signature(InitialEnvironmentConfig).parameters))
        if unknown:
            raise SettingsError("has no setting {}".format(", ".join(unknown)))
        self._actions = MinecraftActions(action_mode, no_op_v2())
        self.actions = self._actions.columns
        self._size = size
        self._options = options
        self._world: Any = None
        self._env: Any = None

    def reset(self, seed: int, world: int) -> View:
        """Begin an episode; nothing but the world is left to chance."""
        if self._env is None or world != self._world:
            self.close()
            self._env = self._made(world)
            self._world = world
        seen, _ = self._env.reset()
        return _view(seen, False)

    def step(self, action: Any) -> View:
        """Live through one tick."""
        controls = self._actions.controls(action)
        taken = no_op_v2()
        taken.update((key, bool(held)) for key, held in controls.keys.items())
        taken.update(zip(CAMERA, (controls.pitch, controls.yaw)))
        seen, _, terminated, truncated, _ = self._env.step(taken)
        return _view(seen, bool(terminated or truncated))

    def close(self) -> None:
        """End the game."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def _made(self, world: int) -> Any:
        width, height = width_height(self._size)
        settings: Dict[str, Any] = {
            "image_width": width,
            "image_height": height,
            "seed": str(world),
            "difficulty": Difficulty.PEACEFUL,
            "hud_hidden": True,
            "no_fov_effect": True,
        }
        settings.update(self._options)
        config = InitialEnvironmentConfig(**settings)
        config.set_daylight_cycle_mode(DaylightMode.ALWAYS_DAY)
        config.set_initial_weather("clear")
        config.freeze_weather()
        config.set_allow_mob_spawn(False)
        return craftground.make(initial_env_config=config, action_space_version=ActionSpaceVersion.V2_MINERL_HUMAN)


def _view(seen: Dict[str, Any], ended: bool) -> View:
    told = seen["full"]
    frame = seen["rgb"] if "rgb" in seen else seen["pov"]
    return View(np.asarray(frame), pose(told.x, told.y, told.z, told.yaw, told.pitch), ended)
