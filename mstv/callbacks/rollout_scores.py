"""What the rollouts of a training score: PSNR against horizon, and where a place comes back."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from mstv.callbacks.rolled_episode import RolledEpisode
from mstv.metrics import FramePSNR, RevisitConsistency
from mstv.metrics.revisit_consistency import GAPS, REFERENCES

REVISIT_COLUMNS = ("frames ago", "seen in", "frames", *REFERENCES)
"""What `revisit_rows` holds: PSNR in dB in the columns of `REFERENCES`, see there."""


def mean_psnr(episodes: Sequence[RolledEpisode], seed: int) -> dict[str, Float[np.ndarray, " T"]]:
    """Means over episodes at each horizon 1, ..., T; see `RolledEpisode.psnr`."""
    found = [episode.psnr(seed) for episode in episodes]
    return {name: np.mean([curves[name] for curves in found], 0) for name in found[0]}


def revisit_rows(episodes: Sequence[RolledEpisode]) -> list[list[str | int | float]]:
    """Rows of `REVISIT_COLUMNS`, by how long ago a place was last seen; none where nothing was seen before."""
    consistency = RevisitConsistency(FramePSNR())
    # The first rank is alone here: to ask the others for theirs would wait for ever.
    consistency.distributed_available_fn = lambda: False
    for episode in episodes:
        if episode.revisits is not None:
            consistency.update(episode.generated, episode.truth, episode.revisits)
    if not int(consistency.count.sum()):
        return []
    table = consistency.compute()
    ends = [f"{first} to {following - 1}" for first, following in pairwise(GAPS)]
    names = [*ends, f"{GAPS[-1]} and more"]
    return [
        [names[gap], place, int(table.num_pairs[index, gap]), *(round(float(v), 3) for v in table.mean[:, index, gap])]
        for gap in range(len(GAPS))
        for index, place in enumerate(("context", "generated"))
        if table.num_pairs[index, gap]
    ]
