"""PSNR of one series of an evaluation, put together for the table: by horizon, and against another's."""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mstv.metrics.bootstrap import bootstrap_mean, paired_difference
from mstv.metrics.revisits import find_revisits

Interval = list[float | None]


class Scored:
    """Per-frame PSNR of one series of an evaluation, and what its frames revisit.

    Args:
        values: (E, H) in dB, by episode and horizon 1..H.
        revisits: whether the pose was seen before, and left since.
        in_context: whether the context showed that pose.
    """

    def __init__(
        self, values: Float[np.ndarray, "E H"], revisits: Bool[np.ndarray, "E H"], in_context: Bool[np.ndarray, "E H"]
    ) -> None:
        self.values, self._revisits, self._in_context = values, revisits, in_context

    def at(self, horizon: int) -> dict[str, Any]:
        """What a row of the table says of one horizon."""
        window = np.zeros(self.values.shape, bool)
        window[:, horizon // 2 : horizon] = True
        psnr, interval = self._mean(window)
        revisit_psnr, revisit_interval = self._mean(window & self._revisits)
        context_psnr, context_interval = self._mean(window & self._in_context)
        pooled = -10 * math.log10(np.mean(10 ** (-self.values[window] / 10)))
        return {
            "horizon": horizon,
            "psnr": psnr,
            "interval": interval,
            "psnr_pooled": round(pooled, 3),
            "revisit_psnr": revisit_psnr,
            "revisit_interval": revisit_interval,
            "revisit_context_psnr": context_psnr,
            "revisit_context_interval": context_interval,
            "episodes": len(self.values),
        }

    def _mean(self, chosen: Bool[np.ndarray, "E H"]) -> tuple[float | None, Interval]:
        """Mean over each episode's chosen frames, then over episodes, and its interval; None where there is none."""
        count = chosen.sum(1)
        total = np.where(chosen, self.values, 0).sum(1)
        by_episode = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        mean, low, high = (rounded(float(value)) for value in bootstrap_mean(by_episode))
        return mean, [low, high]


def revisits_of(poses: Float[np.ndarray, "T 5"], context: int) -> tuple[Bool[np.ndarray, " H"], Bool[np.ndarray, " H"]]:
    """`revisits` and `in_context` of `Scored` for the frames of one episode after its context."""
    found = find_revisits(poses, context)
    revisits, in_context = np.zeros(len(poses), bool), np.zeros(len(poses), bool)
    revisits[found.frame] = True
    in_context[found.frame[found.in_context]] = True
    return revisits[context:], in_context[context:]


def difference(
    a: list[Float[np.ndarray, "E H"]], b: list[Float[np.ndarray, "E H"]], horizon: int
) -> tuple[float | None, Interval]:
    """How far `a` lies above `b` at a horizon, in dB: mean over seeds and the window, then over the same episodes.

    Args:
        a: per-frame PSNR of each seed.
        b: the same of another plan.
        horizon: the window is (horizon / 2, horizon].

    Returns:
        Mean and 95 % interval of the paired difference.
    """
    means = [np.mean([values[:, horizon // 2 : horizon].mean(1) for values in part], 0) for part in (a, b)]
    mean, low, high = (rounded(float(value)) for value in paired_difference(*means))
    return mean, [low, high]


def rounded(value: float) -> float | None:
    """For JSON, which has no NaN."""
    return None if math.isnan(value) else round(value, 3)
