"""What a model is told of each frame beside its tokens: the action that made it, or the pose that it shows."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from mstv.data.latent_shards import LatentStore
from mstv.errors import UserError

ConditionKind = Literal["actions", "poses"]
WAVELENGTHS = tuple(2**octave for octave in range(1, 9))
"""Of the waves over x, y and z, in blocks: half a block is told from the next, and places 128 blocks apart."""
MULTIPLES = (1, 2, 4)
"""Waves in a full turn of yaw and pitch."""
NUM_POSE_FEATURES = 2 * (3 * len(WAVELENGTHS) + 2 * len(MULTIPLES))


def pose_features(poses: Float[np.ndarray, "*T 5"]) -> Float32[np.ndarray, "*T F"]:
    """Sines and cosines of poses, whose products tell how far two poses lie apart, wherever they are.

    Args:
        poses: x, y, z in blocks, yaw and pitch in degrees.

    Returns:
        F = `NUM_POSE_FEATURES` columns: for x, y, z the sine and the cosine of each of `WAVELENGTHS`; for yaw and pitch
        those of each of `MULTIPLES`.
    """
    places = 2 * np.pi * poses[..., :3, None].astype(np.float64) / np.array(WAVELENGTHS)
    angles = np.deg2rad(poses[..., 3:, None].astype(np.float64)) * np.array(MULTIPLES)
    phases = np.concatenate([part.reshape(*poses.shape[:-1], -1) for part in (places, angles)], -1)
    return np.stack([np.sin(phases), np.cos(phases)], -1).reshape(*poses.shape[:-1], -1).astype(np.float32)


class Conditions:
    """Conditions of the episodes of a latents set.

    Args:
        store: the set.
        kind: `actions` as they were recorded, or `poses` as `pose_features`.

    Attributes:
        action_kind: `none`, `discrete` or `vector`, how a model embeds them.
        size: ids or columns.
    """

    def __init__(self, store: LatentStore, kind: ConditionKind = "actions") -> None:
        self.store, self.kind = store, kind
        spec = store.actions_spec
        self.action_kind, self.size = (spec.kind, spec.size) if kind == "actions" else ("vector", NUM_POSE_FEATURES)

    def of(self, key: str, frames: np.ndarray) -> np.ndarray | None:
        """Of some frames (n,) of an episode: int16 (n,) or float32 (n, size); None for kind `none`.

        Frames beyond the episode's end get null: -1, or zeros.

        Raises:
            UserError: poses of an episode that has none.
        """
        recorded = self.store.actions(key) if self.kind == "actions" else self.store.poses(key)
        if recorded is None:
            if self.kind == "poses":
                raise UserError(f"{self.store.folder}: episode {key} has no poses: set --data.conditions actions")
            return None
        known = frames < len(recorded)
        chosen = recorded[frames[known]]
        if self.kind == "poses":
            chosen = pose_features(chosen)
        null = -1 if chosen.dtype.kind == "i" else 0
        found = np.full((len(frames), *chosen.shape[1:]), null, chosen.dtype)
        found[known] = chosen
        return found

    def stack(self, keys: Sequence[str], num_frames: int) -> Int64[Tensor, "B T"] | Float32[Tensor, "B T A"] | None:
        """Of the first `num_frames` frames of several episodes; None for kind `none`."""
        found = [self.of(key, np.arange(num_frames)) for key in keys]
        rows = [row for row in found if row is not None]
        return as_tensor(np.stack(rows)) if rows else None


def as_tensor(conditions: np.ndarray) -> Tensor:
    """As models take them: ids as int64, columns as float32."""
    tensor = torch.from_numpy(conditions)
    return tensor if tensor.is_floating_point() else tensor.long()
