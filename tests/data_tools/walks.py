"""A walker without a renderer: a panorama slides by as it turns, and flickers as it walks."""

import numpy as np

from mstv.data.schema import ActionSpec

DISCRETE = ActionSpec(kind="discrete", names=("forward", "turn_left", "turn_right"))
VECTOR = ActionSpec(kind="vector", names=("move", "yaw", "pitch"), units=("blocks", "degrees", "degrees"))


def walk(
    kind: str, num_frames: int, seed: int, size: tuple[int, int] = (32, 64)
) -> tuple[np.ndarray, np.ndarray, ActionSpec]:
    """Frames uint8 (T, H, W, 3), actions that stand at the frames that they produced, and what these are.

    Discrete actions are held for nine frames, as recordings hold them; vectors change each frame.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    ids = rng.choice(3, -(-num_frames // 9), p=(0.5, 0.25, 0.25)).repeat(9)[:num_frames]
    if kind == "discrete":
        actions = ids.astype(np.int16)
        actions[0] = -1
        spec, yaw, pitch, moves = DISCRETE, np.select([ids == 1, ids == 2], [-8, 8]), np.zeros(num_frames), ids == 0
    else:
        yaw = np.round(rng.normal(0, 1, num_frames) + np.select([ids == 1, ids == 2], [-6, 6]))
        pitch = np.round(rng.normal(0, 0.7, num_frames))
        moves = ids == 0
        actions = np.stack([0.1 * moves, yaw, pitch], 1).astype(np.float32)
        actions[0] = 0
        spec = VECTOR
    yaw[0] = pitch[0] = 0
    right, down = np.cumsum(yaw).astype(int), np.clip(np.cumsum(pitch).astype(int), -20, 20)
    panorama = rng.integers(40, 220, (height // 4 + 12, 90, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    frames = []
    for frame in range(num_frames):
        columns = (np.arange(width) + right[frame]) % panorama.shape[1]
        picture = panorama[24 + down[frame] : 24 + down[frame] + height, columns].astype(np.int16)
        noise = rng.normal(0, 10, picture.shape) if moves[frame] else 0
        frames.append(np.clip(picture + noise, 0, 255).astype(np.uint8))
    return np.stack(frames), actions, spec


def shifted(actions: np.ndarray, shift: int) -> np.ndarray:
    """The same actions, `shift` rows late (or early, if negative), null where there is none."""
    null = -1 if actions.ndim == 1 else 0
    moved = np.full_like(actions, null)
    if shift > 0:
        moved[shift:] = actions[:-shift]
    elif shift < 0:
        moved[:shift] = actions[-shift:]
    else:
        moved[:] = actions
    moved[0] = null
    return moved
