"""The engines that can record, by name, and how each is made."""

import importlib
from dataclasses import dataclass
from typing import Any

import gymnasium

from mstv.data.schema import ActionSpec
from mstv.errors import UserError


@dataclass(frozen=True)
class Engine:
    """A Gymnasium environment that can be recorded.

    Its observations are uint8 (H, W, 3), or a dictionary that holds them as `pov`; `info["pose"]`, where given, is
    float32 (5,): x, y, z in blocks, yaw and pitch in degrees. `reset(options={"world": int})` chooses the world.
    Unwrapped it has `action_names`, and for vector actions `action_units`.

    Attributes:
        module: what to import so that the environment is registered.
        env_id: its id in Gymnasium's registry.
        fps: frames a second at which it is meant to be watched.
        packages: distributions whose versions an episode names.
    """

    module: str
    env_id: str
    fps: float
    packages: tuple[str, ...] = ()

    def make(self, size: tuple[int, int], action_mode: str) -> gymnasium.Env[Any, Any]:
        """An environment with frames of `size` (H, W) pixels and `discrete` or `vector` actions.

        Raises:
            UserError: the engine is not installed, or refuses the settings.
        """
        try:
            importlib.import_module(self.module)
            return gymnasium.make(self.env_id, disable_env_checker=True, size=size, action_mode=action_mode)
        except ImportError as error:
            raise UserError(f"engine {self.env_id}: cannot be imported ({error}): install what it needs") from None
        except (ValueError, TypeError) as error:
            raise UserError(f"engine {self.env_id}: {error}") from None


ENGINES = {
    "blockworld": Engine("data_tools.engines.blockworld", "mstv/BlockWorld-v0", 20.0, ("numba", "numpy", "gymnasium"))
}


def action_spec(env: gymnasium.Env[Any, Any]) -> ActionSpec:
    """What the environment's actions are: `discrete` for a Discrete space, else `vector`."""
    unwrapped: Any = env.unwrapped
    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        return ActionSpec(kind="discrete", names=tuple(unwrapped.action_names), units=tuple(unwrapped.action_units))
    return ActionSpec(kind="vector", names=tuple(unwrapped.action_names), units=tuple(unwrapped.action_units))
