"""Makes the environment, as CraftGround does."""

from craftground.environment.action_space import ActionSpaceVersion
from craftground.environment.environment import CraftGroundEnvironment
from craftground.initial_environment_config import InitialEnvironmentConfig


def make(initial_env_config=None, port=8000, action_space_version=ActionSpaceVersion.V1_MINEDOJO):
    return CraftGroundEnvironment(initial_env_config or InitialEnvironmentConfig(), action_space_version)
