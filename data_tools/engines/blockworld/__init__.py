"""BlockWorld: an embedded voxel world; importing this package registers `mstv/BlockWorld-v0` with Gymnasium."""

import gymnasium

from data_tools.engines.blockworld.env import BlockWorldEnv

__all__ = ["ENV_ID", "BlockWorldEnv"]

ENV_ID = "mstv/BlockWorld-v0"

if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point="data_tools.engines.blockworld.env:BlockWorldEnv")
