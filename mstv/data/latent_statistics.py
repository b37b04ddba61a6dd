"""How large latents are, from a sample of a set."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from mstv.data.latent_shards import LatentStore

EPISODES, FRAMES = 64, 64
"""Of the training split, spread evenly over it, and of each episode."""


class LatentStatistics(NamedTuple):
    """Of the L levels of a set with C channels.

    Attributes:
        mean: (L, C), of each channel.
        scale: (L,), root of the mean variance of the channels. One for all of them: a channel that carries next to
            nothing must not be blown up.
    """

    mean: Float32[np.ndarray, "L C"]
    scale: Float32[np.ndarray, " L"]


def latent_statistics(store: LatentStore) -> LatentStatistics:
    """Statistics of a sample of the training split, the same ones each time.

    A level of no variance at all has scale 1.
    """
    keys = store.keys("train")
    keys = [keys[index] for index in np.unique(np.linspace(0, len(keys) - 1, EPISODES).round().astype(int))]
    mean, scale = [], []
    for level in range(store.levels.num_levels):
        parts = [
            store.read(key, level, np.unique(np.linspace(0, store.num_frames(key) - 1, FRAMES).round().astype(int)))
            for key in keys
        ]
        values = np.concatenate([part.reshape(-1, store.channels) for part in parts]).astype(np.float64)
        mean.append(values.mean(0))
        scale.append(np.sqrt(values.var(0).mean()) or 1.0)
    return LatentStatistics(np.array(mean, np.float32), np.array(scale, np.float32))
