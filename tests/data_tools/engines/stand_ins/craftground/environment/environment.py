"""A player in the void; `java` is a process in a session of its own, as CraftGround starts it."""

import os
import subprocess
from types import SimpleNamespace

import gymnasium
import numpy as np

from craftground.environment.action_space import ActionSpaceVersion, no_op_v2


class CraftGroundEnvironment(gymnasium.Env):
    def __init__(self, initial_env, action_space_version):
        assert action_space_version == ActionSpaceVersion.V2_MINERL_HUMAN
        self.initial_env = initial_env
        self.process = None

    def reset(self, *, seed=None, options=None):
        if self.process is None:
            print("Starting server", flush=True)
            self.process = subprocess.Popen(["sleep", "1000"], preexec_fn=os.setsid)
        self._step, self._yaw, self._pitch, self._z = 0, 0.0, 0.0, 0.5
        seen = self._look(no_op_v2())
        return seen, seen

    def step(self, action):
        assert set(action) == set(no_op_v2()), "the message names every key"
        self._step += 1
        self._yaw = (self._yaw + action["camera_yaw"] + 180.0) % 360.0 - 180.0
        self._pitch += action["camera_pitch"]
        self._z += 0.2 * action["forward"]
        seen = self._look(action)
        return seen, 0, False, False, seen

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _look(self, action):
        config = self.initial_env
        rgb = np.zeros((config.imageSizeY, config.imageSizeX, 3), np.uint8)
        rgb[0, 0] = (self._step % 256, config.render_distance, int(config.seed) % 256)
        rgb[0, 1] = (action["forward"], action["jump"], action["attack"])
        rgb[0, 2] = (128 + int(action["camera_pitch"]), 128 + int(action["camera_yaw"]), action["back"])
        rgb[0, 3] = (config.isHudHidden, config.difficulty == 0, len(config.initialExtraCommands))
        # The game's picture is a view of its bytes turned upside down.
        rgb = np.flip(np.frombuffer(rgb[::-1].tobytes(), np.uint8).reshape(rgb.shape), axis=0)
        full = SimpleNamespace(x=0.5, y=64.0, z=self._z, yaw=self._yaw, pitch=self._pitch)
        return {"full": full, "pov": rgb, "rgb": rgb}
