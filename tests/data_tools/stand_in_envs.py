"""Small Gymnasium environments for `--engine gym:tests.data_tools.stand_in_envs:ID`."""

import os
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np


class Counting(gymnasium.Env[np.ndarray, int]):
    """Shows the number of the step as brightness, 5 a step; may crash, hang or end.

    Args:
        trouble: "crash", "hang" or "raise" at step 10, as long as there are fewer than `times` files in `marks`.
        marks: folder that gets a file each time.
        times: how often.
        length: steps after which the episode ends.
        pose: numbers in `info["pose"]`; 0 for none.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    action_space = gymnasium.spaces.Discrete(3)
    observation_space = gymnasium.spaces.Box(0, 255, (20, 40, 3), np.uint8)

    def __init__(
        self,
        trouble: str = "",
        marks: str = "",
        times: int = 1,
        length: int = 50,
        pose: int = 0,
        render_mode: str | None = None,
    ) -> None:
        self.trouble, self.marks, self.times, self.length = trouble, marks, times, length
        self.render_mode = render_mode
        self.info = {"pose": np.zeros(pose)} if pose else {}

    def _show(self) -> np.ndarray:
        return np.full((20, 40, 3), min(255, 5 * self.steps), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        self.steps = 0
        return self._show(), self.info

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        if self.trouble and self.steps == 10 and len(list(Path(self.marks).iterdir())) < self.times:
            (Path(self.marks) / str(os.getpid())).touch()
            if self.trouble == "raise":
                raise RuntimeError("my game broke")
            if self.trouble == "crash":
                os._exit(3)
            time.sleep(600)
        return self._show(), 0.0, self.steps >= self.length, False, self.info

    def render(self) -> np.ndarray:
        return self._show()


gymnasium.register("Counting-v0", entry_point=Counting)
