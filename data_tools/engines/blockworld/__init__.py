"""BlockWorld: an embedded voxel world; importing this package registers `mstv/BlockWorld-v0` with Gymnasium."""

import gymnasium

from data_tools.engines.blockworld.env import FRAMES_PER_ACTION, BlockWorldEnv

__all__ = ["ENV_ID", "FRAMES_PER_ACTION", "BlockWorldEnv"]

ENV_ID = "mstv/BlockWorld-v0"

if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point="data_tools.engines.blockworld.env:BlockWorldEnv")
