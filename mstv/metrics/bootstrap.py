"""Bootstrap confidence intervals of means over episodes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 1000


class Interval(NamedTuple):
    """Means over episodes, and the bounds of their 95 % percentile interval; one entry for each column."""

    mean: Float[np.ndarray, "*columns"]
    low: Float[np.ndarray, "*columns"]
    high: Float[np.ndarray, "*columns"]


def bootstrap_mean(values: Float[np.ndarray, "E *columns"], seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """95 % percentile bootstrap (Efron & Tibshirani 1993) of the mean over episodes.

    Episodes are drawn whole, the same ones for every column: frames of one episode are not independent.

    Args:
        values: one row per episode, such as means over a window of horizons. NaN where an episode has no value (no
            revisit of that gap): the mean is over the others.
        seed: of the draw.
        resamples: draws.

    Returns:
        Mean and bounds of each column; the bounds are NaN where fewer than two episodes have a value, since one episode
        says nothing of the others.
    """
    values = np.asarray(values, np.float64)
    count = len(values)
    if not count:
        nothing = np.full(values.shape[1:], np.nan)
        return Interval(nothing, nothing, nothing)
    present = np.isfinite(values)
    filled = np.where(present, values, 0)
    drawn = np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=resamples).astype(np.float64)
    with np.errstate(invalid="ignore"):  # 0 / 0 where a draw holds no episode with a value
        mean = filled.sum(0) / present.sum(0)
        means = np.tensordot(drawn, filled, axes=1) / np.tensordot(drawn, present.astype(np.float64), axes=1)
    enough = present.sum(0) >= 2
    # Columns without two episodes are replaced before the percentiles, which warn of NaN alone.
    low, high = np.nanpercentile(np.where(enough, means, 0), [2.5, 97.5], axis=0)
    return Interval(np.asarray(mean), np.where(enough, low, np.nan), np.where(enough, high, np.nan))


def paired_difference(
    a: Float[np.ndarray, "E *columns"], b: Float[np.ndarray, "_ ..."], seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Interval of the mean of a - b over episodes, row i of both being the same episode.

    Much narrower than two intervals side by side, since a hard episode is hard for both runs. An interval that leaves
    out 0 tells the runs apart.

    Args:
        a: one row per episode; may hold NaN, as `bootstrap_mean`.
        b: the same episodes in the same order.
        seed: of the draw.
        resamples: draws.

    Raises:
        ValueError: the shapes differ.
    """
    if np.shape(a) != np.shape(b):
        raise ValueError(f"shapes are {np.shape(a)} and {np.shape(b)}: pair the same episodes")
    return bootstrap_mean(np.asarray(a, np.float64) - np.asarray(b, np.float64), seed, resamples)
