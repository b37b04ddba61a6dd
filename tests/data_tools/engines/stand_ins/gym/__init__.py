"""The part of Gym 0.19 that MineRL uses: old spaces, a registry, the four values of a step."""

from typing import ClassVar

from gym import error, spaces

__all__ = ["Env", "error", "make", "register", "spaces"]

_REGISTRY = {}


class Env:
    metadata: ClassVar = {}

    @property
    def unwrapped(self):
        return self


class Wrapper(Env):
    def __init__(self, env):
        self.env = env
        self.action_space = env.action_space

    def __getattr__(self, name):
        return getattr(self.env, name)

    @property
    def unwrapped(self):
        return self.env.unwrapped


def register(id, entry_point, max_episode_steps):
    _REGISTRY[id] = (entry_point, max_episode_steps)


def make(id, **kwargs):
    if id not in _REGISTRY:
        raise error.UnregisteredEnv("No registered env with id: " + id)
    entry_point, _ = _REGISTRY[id]
    return Wrapper(entry_point(**kwargs))
