"""Registers its environments when it is imported, as MineRL does."""

import gym

from minerl.env import NavigateEnv, ObfuscatedEnv

gym.register("MineRLNavigate-v0", NavigateEnv, 6000)
gym.register("MineRLNavigateVectorObf-v0", ObfuscatedEnv, 6000)
