"""Luanti (formerly Minetest), headless; importing this package registers `mstv/Luanti-v0` with Gymnasium."""

import gymnasium

from data_tools.engines.luanti.env import LuantiEnv

__all__ = ["ENV_ID", "LuantiEnv"]

ENV_ID = "mstv/Luanti-v0"

if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point="data_tools.engines.luanti.env:LuantiEnv")
