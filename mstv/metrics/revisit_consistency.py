"""Does the model show again what it showed before? Revisits scored by any per-frame metric, against how long ago."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from mstv.metrics.horizon import HorizonMetric
from mstv.metrics.psnr import MAX_PSNR, FramePSNR
from mstv.metrics.revisits import GAPS, Revisits

SIDES = (
    ("raw", "generated"),
    ("own", "generated"),
    ("elsewhere", "generated"),
    ("own", "upper_bound"),
    ("elsewhere", "upper_bound"),
    ("own", "lower_bound"),
)
"""Reference and series, by the names of `mstv evaluate`, of what a revisiting frame f, seen before as frame e, is
scored as. With v the model's video, w the true one, and s the true one with its generated frames in shuffled order:

raw, generated: v[f] against w[f]. own, generated: v[f] against v[e], what the model itself showed there (or was given,
in the context). elsewhere, generated: v[f] against the model's frame of another place; `own` is memory only as far as
it is better than this (a model that shows a grey wall for ever agrees with itself). own and elsewhere, upper_bound:
the same of w. own, lower_bound: s[f] against s[e].
"""
SEEN_IN = ("context", "generated", "anywhere")
"""Where the earlier visit lies: among the frames that were given, those that the model made, or either."""
PAIRS_AT_ONCE = 32


def pair_values(
    metric: HorizonMetric,
    video: Float[Tensor, "T 3 H W"],
    frame: Int[np.ndarray, " P"],
    other_video: Float[Tensor, "_ 3 _ _"],
    other: Int[np.ndarray, " P"],
    device: torch.device | None = None,
) -> Float[np.ndarray, " P"]:
    """Value of frames of a video against frames of another one, or of its own.

    Args:
        metric: any metric whose frames stand for themselves, its networks on `device`.
        video: (T, 3, H, W) in [0, 1].
        frame: indices of its frames.
        other_video: of the same shape and range.
        other: indices of its frames.
        device: where to measure; None is that of the video.
    """
    parts = [np.empty(0, np.float32)]
    for at in range(0, len(frame), PAIRS_AT_ONCE):
        part = slice(at, at + PAIRS_AT_ONCE)
        one, two = video[frame[part]][None], other_video[other[part]][None]
        parts.append(metric.measure(one.to(device or one.device), two.to(device or two.device))[0].cpu().numpy())
    return np.concatenate(parts)


def to_averaged(metric: str, values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """What is averaged of a metric's values: the squared error of PSNR, where identical frames, which have a capped 100
    dB, count as 0; the values of all others.
    """
    return 10 ** (-np.asarray(values, np.float64) / 10) if metric == FramePSNR.name else values


def from_averaged(metric: str, mean: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """The inverse of `to_averaged`: dB of a mean squared error, at most `MAX_PSNR`; a NaN stays one."""
    if metric != FramePSNR.name:
        return mean
    return np.asarray(np.minimum(-10 * np.log10(np.maximum(mean, 10 ** (-MAX_PSNR / 10))), MAX_PSNR))


def revisit_scores(
    metric: HorizonMetric,
    video: Float[Tensor, "T 3 H W"],
    truth: Float[Tensor, "_ 3 _ _"],
    revisits: Revisits,
    shuffled: Int[np.ndarray, " T"],
) -> dict[tuple[str, str], Float[np.ndarray, " P"]]:
    """Value of each pair for each of `SIDES`.

    Args:
        metric: any metric whose frames stand for themselves.
        video: (T, 3, H, W) in [0, 1], the model's episode: the given frames, then those it generated.
        truth: the same shape and range.
        revisits: pairs of frames of these videos.
        shuffled: order of the lower bound: the frames' indices, of which those of the context stay.

    Raises:
        ValueError: the metric compares neighbouring frames, shapes differ, or values outside [0, 1].
    """
    _check(metric)
    if video.shape != truth.shape:
        raise ValueError(f"video is {tuple(video.shape)} and truth {tuple(truth.shape)}: both must be (T, 3, H, W)")
    frame, earlier = revisits.frame, revisits.earlier
    sides = {
        ("raw", "generated"): (video, frame, truth, frame),
        ("own", "generated"): (video, frame, video, earlier),
        ("elsewhere", "generated"): (video, frame, video, revisits.elsewhere),
        ("own", "upper_bound"): (truth, frame, truth, earlier),
        ("elsewhere", "upper_bound"): (truth, frame, truth, revisits.elsewhere),
        ("own", "lower_bound"): (truth, shuffled[frame], truth, shuffled[earlier]),
    }
    return {side: pair_values(metric, *sides[side]) for side in SIDES}


class RevisitTable(NamedTuple):
    """Means over the latest revisit of each frame, by what it is scored against, where and when it was seen."""

    first_gap: Int[np.ndarray, " G"]
    """`GAPS`."""
    mean: Float[np.ndarray, "S 3 G"]
    """By `SIDES`, by `SEEN_IN`, by gap; NaN without pairs."""
    num_pairs: Int[np.ndarray, "3 G"]
    num_episodes: Int[np.ndarray, "3 G"]
    """Episodes that have such a pair."""


class RevisitConsistency(Metric):
    """Means of a per-frame metric over revisits as a function of how long ago the place was last seen.

    The numbers are those of `mstv evaluate`: means over the frames of a bin in each episode, then over episodes; of
    PSNR the squared error is averaged so. A model that forgets is as good as its bounds up to the gap that it remembers
    and no better than `elsewhere` beyond; one that drifts loses `raw` with the horizon, but keeps `own` above
    `elsewhere` at every gap.

    Its states have a fixed size, so their sum over processes is defined even where one of them saw no episode.

    Args:
        metric: what a pair is scored with, such as FramePSNR(); its own states are not touched.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    num_pairs: Tensor
    num_episodes: Tensor

    def __init__(self, metric: HorizonMetric) -> None:
        super().__init__()
        _check(metric)
        self.metric = metric
        shape = (len(SEEN_IN), len(GAPS))
        self.add_state("total", torch.zeros(len(SIDES), *shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_pairs", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_episodes", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def card(self) -> dict[str, Any]:
        """That of the metric, with what makes a pair."""
        return self.metric.card() | {
            "name": f"revisit_{self.metric.name}",
            "version": self.metric.version + 1,
            "aggregation": "over generated frames whose pose was seen before, each against its latest earlier visit: "
            "mean by gap in each episode, then over episodes; of PSNR the squared error is averaged so",
            "sides": [" ".join(side) for side in SIDES],
            "first_gaps": list(GAPS),
        }

    def update(
        self,
        video: Float[Tensor, "T 3 H W"],
        truth: Float[Tensor, "_ 3 _ _"],
        revisits: Revisits,
        shuffled: Int[np.ndarray, " T"],
    ) -> None:
        """Add the revisits of one whole episode; arguments and errors as `revisit_scores`."""
        latest = revisits.select(revisits.latest)
        scores = revisit_scores(self.metric, video, truth, latest, shuffled)
        gap = np.searchsorted(GAPS, latest.gap, side="right") - 1
        places = (latest.in_context, ~latest.in_context, np.ones_like(latest.in_context))
        for place, chosen in enumerate(places):
            count = np.bincount(gap[chosen], minlength=len(GAPS))
            self.num_pairs[place] += torch.from_numpy(count).to(self.num_pairs)
            self.num_episodes[place] += torch.from_numpy(count > 0).to(self.num_episodes)
            for index, side in enumerate(SIDES):
                values = to_averaged(self.metric.name, scores[side])[chosen]
                total = np.bincount(gap[chosen], values, len(GAPS)) / np.maximum(count, 1)
                self.total[index, place] += torch.from_numpy(total).to(self.total)

    def compute(self) -> RevisitTable:
        """The table over the episodes of all processes."""
        episodes = self.num_episodes.cpu().numpy()
        mean = np.full(tuple(self.total.shape), np.nan)
        np.divide(self.total.cpu().numpy(), episodes, out=mean, where=np.broadcast_to(episodes > 0, mean.shape))
        return RevisitTable(
            first_gap=np.array(GAPS),
            mean=from_averaged(self.metric.name, mean),
            num_pairs=self.num_pairs.cpu().numpy(),
            num_episodes=episodes,
        )


def _check(metric: HorizonMetric) -> None:
    if metric.temporal:
        raise ValueError(f"{metric.name} compares neighbouring frames, so it cannot score a revisit")
