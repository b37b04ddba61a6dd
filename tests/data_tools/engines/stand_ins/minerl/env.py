"""A player in the void: turns and walks, and shows its step, world and controls in its pixels."""

import math
from typing import ClassVar

import gym
import numpy as np
from gym import spaces

from minerl.herobraine.hero import handlers

KEYS = ("attack", "back", "forward", "jump", "left", "right", "sneak", "sprint")
STRIDE = 0.2


class Task:
    resolution = (64, 64)

    def create_observables(self):
        return [handlers.POVObservation(self.resolution)]

    def reset(self):
        self.observables = self.create_observables()


class NavigateEnv(gym.Env):
    metadata: ClassVar = {"render.modes": ["human", "rgb_array"], "video_frames_per_second": 20}

    def __init__(self, lost_at=None, steps=6000):
        self.task = Task()
        self._lost_at, self._steps = lost_at, steps
        self.action_space = spaces.Dict(
            {
                "camera": spaces.Box(-180.0, 180.0, (2,)),
                "place": spaces.Enum("none", "dirt"),
                **{key: spaces.Discrete(2) for key in KEYS},
            }
        )
        self._seed = None

    def seed(self, seed=None):
        assert isinstance(seed, int), "Seed must be an int!"
        self._seed = seed

    def reset(self):
        assert self._seed is not None, "no world was chosen"
        self.task.reset()
        # A seed holds for one episode only.
        self._world, self._seed = self._seed, None
        self._step, self._done = 0, False
        self._x = self._z = 0.5
        self._yaw = self._pitch = 0.0
        return self._look(self.action_space.noop())

    def step(self, action):
        if self._done:
            raise RuntimeError("Attempted to step an environment server with done=True")
        assert self.action_space.contains(action), action
        self._step += 1
        pitch, yaw = (float(value) for value in action["camera"])
        self._yaw = (self._yaw + yaw + 180.0) % 360.0 - 180.0
        self._pitch = min(max(self._pitch + pitch, -90.0), 90.0)
        if action["forward"]:
            self._x -= STRIDE * math.sin(math.radians(self._yaw))
            self._z += STRIDE * math.cos(math.radians(self._yaw))
        self._done = self._step == self._steps
        info = {}
        seen = self._look(action)
        if self._step == self._lost_at:
            self._done, info = True, {"error": "Connection timed out!"}
        return seen, 0.0, self._done, info

    def close(self):
        pass

    def _look(self, action):
        seen = {}
        for observable in self.task.observables:
            if observable.to_string() == "pov":
                width, height = observable.resolution
                pov = np.zeros((height, width, 3), np.uint8)
                pov[0, 0] = (self._step % 256, self._step // 256, self._world % 256)
                pov[0, 1] = (action["forward"], action["jump"], action["attack"])
                pitch, yaw = action["camera"]
                pov[0, 2] = (128 + int(pitch), 128 + int(yaw), action["back"])
                seen["pov"] = pov
            else:
                numbers = {"xpos": self._x, "ypos": 64.0, "zpos": self._z, "yaw": self._yaw, "pitch": self._pitch}
                seen["location_stats"] = {key: np.array(value) for key, value in numbers.items()}
        return seen


class ObfuscatedEnv(gym.Env):
    def __init__(self):
        self.action_space = spaces.Dict({"vector": spaces.Box(-1.05, 1.05, (64,))})
