"""Print the sha256 of frames and poses of a short walk; `test_blockworld_determinism.py` runs it in new processes."""

import hashlib

import numpy as np

from data_tools.engines.blockworld import BlockWorldEnv

FORWARD, LEFT, RIGHT = 0, 1, 2


def digest() -> str:
    """Hash a discrete walk in two worlds, one frame not square, and a vector walk with every column in use."""
    total = hashlib.sha256()
    env = BlockWorldEnv(world=3, size=(48, 64))
    for world in (3, 11):
        _, info = env.reset(seed=5, options={"world": world})
        for action in [FORWARD] * 30 + [RIGHT] * 4 + [FORWARD] * 20 + [LEFT] * 13 + [FORWARD] * 20:
            frame, _, _, _, info = env.step(action)
            total.update(frame.tobytes() + info["pose"].tobytes())
    env = BlockWorldEnv(world=1, size=40, action_mode="vector", map_size=70, view_distance=40, fov=90)
    env.reset(seed=2)
    for i in range(80):
        action = np.array([0.15, 0.01 * (i % 9 - 4), i % 25 == 0, 1.7 * (i % 7 - 2), 0.9 * (i % 11 - 5)], np.float32)
        frame, _, _, _, info = env.step(action)
        total.update(frame.tobytes() + info["pose"].tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    print(digest())
