"""Does the model show again what it showed before? Revisits scored by any per-frame metric, against how long ago."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from mstv.metrics.horizon import HorizonMetric
from mstv.metrics.revisits import Revisits

REFERENCES = ("truth", "own", "own_elsewhere", "upper_bound", "lower_bound")
"""What a revisiting frame f, seen before as frame e, is scored as. With v the model's video and w the true one:

truth: v[f] against w[f]. own: v[f] against v[e], what the model itself showed there (or was given, in the context).
own_elsewhere: v[f] against the model's frame of another place; `own` is memory only as far as it is better than this (a
model that shows a grey wall for ever agrees with itself). upper_bound: w[f] against w[e], 1 or the cap where poses are
exact. lower_bound: w[f] against the true frame of another place.
"""
GAPS = (1, 8, 16, 32, 64, 128, 256, 512)
"""First gap, in frames, of each bin; the last bin has no end."""
PAIRS_AT_ONCE = 32


def revisit_scores(
    metric: HorizonMetric,
    video: Float[Tensor, "T 3 H W"],
    truth: Float[Tensor, "_ 3 _ _"],
    revisits: Revisits,
) -> dict[str, Float[np.ndarray, " P"]]:
    """Value of each pair for each of `REFERENCES`.

    Args:
        metric: any metric whose frames stand for themselves.
        video: (T, 3, H, W) in [0, 1], the model's episode: the given frames, then those it generated.
        truth: the same shape and range.
        revisits: pairs of frames of these videos.

    Raises:
        ValueError: the metric compares neighbouring frames, shapes differ, or values outside [0, 1].
    """
    if metric.temporal:
        raise ValueError(f"{metric.name} compares neighbouring frames, so it cannot score a revisit")
    if video.shape != truth.shape:
        raise ValueError(f"video is {tuple(video.shape)} and truth {tuple(truth.shape)}: both must be (T, 3, H, W)")
    frame, earlier, elsewhere = (torch.from_numpy(x) for x in (revisits.frame, revisits.earlier, revisits.elsewhere))
    sides = {
        "truth": (video, frame, truth, frame),
        "own": (video, frame, video, earlier),
        "own_elsewhere": (video, frame, video, elsewhere),
        "upper_bound": (truth, frame, truth, earlier),
        "lower_bound": (truth, frame, truth, elsewhere),
    }
    scores = {}
    for reference, (ours, index, other, other_index) in sides.items():
        parts = zip(index.split(PAIRS_AT_ONCE), other_index.split(PAIRS_AT_ONCE), strict=True)
        values = [metric.measure(ours[a][None], other[b][None])[0].cpu().numpy() for a, b in parts if len(a)]
        scores[reference] = np.concatenate(values) if values else np.empty(0, np.float32)
    return scores


class RevisitTable(NamedTuple):
    """Means over the latest revisit of each frame, by what it is scored against, where and when it was seen."""

    first_gap: Int[np.ndarray, " G"]
    """`GAPS`."""
    mean: Float[np.ndarray, "R 2 G"]
    """By reference, by (seen in the context, seen in the generated part), by gap; NaN without pairs."""
    num_pairs: Int[np.ndarray, "2 G"]


class RevisitConsistency(Metric):
    """Means of a per-frame metric over revisits as a function of how long ago the place was last seen.

    A model that forgets is as good as its bounds up to the gap that it remembers and no better than `own_elsewhere`
    beyond; one that drifts loses `truth` with the horizon, but keeps `own` above `own_elsewhere` at every gap.

    Args:
        metric: what a pair is scored with, such as FramePSNR(); its own states are not touched.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, metric: HorizonMetric) -> None:
        super().__init__()
        if metric.temporal:
            raise ValueError(f"{metric.name} compares neighbouring frames, so it cannot score a revisit")
        self.metric = metric
        shape = (2, len(GAPS))
        self.add_state("total", torch.zeros(len(REFERENCES), *shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def card(self) -> dict[str, Any]:
        """That of the metric, with what makes a pair."""
        return self.metric.card() | {
            "name": f"revisit_{self.metric.name}",
            "aggregation": "mean over generated frames whose pose was seen before, each against its latest earlier "
            "visit, by gap",
            "references": list(REFERENCES),
            "first_gaps": list(GAPS),
        }

    def update(self, video: Float[Tensor, "T 3 H W"], truth: Float[Tensor, "_ 3 _ _"], revisits: Revisits) -> None:
        """Add the revisits of one episode; arguments and errors as `revisit_scores`."""
        latest = revisits.select(revisits.latest)
        scores = revisit_scores(self.metric, video, truth, latest)
        gap = np.searchsorted(GAPS, latest.gap, side="right") - 1
        place = np.where(latest.in_context, 0, 1)
        count = np.zeros((2, len(GAPS)), np.int64)
        np.add.at(count, (place, gap), 1)
        total = np.zeros((len(REFERENCES), 2, len(GAPS)))
        for index, reference in enumerate(REFERENCES):
            np.add.at(total[index], (place, gap), scores[reference])
        self.count += torch.from_numpy(count).to(self.count)
        self.total += torch.from_numpy(total).to(self.total)

    def compute(self) -> RevisitTable:
        """The table over the episodes of all processes."""
        count = self.count.cpu().numpy()
        mean = np.full(tuple(self.total.shape), np.nan)
        np.divide(self.total.cpu().numpy(), count, out=mean, where=np.broadcast_to(count > 0, mean.shape))
        return RevisitTable(np.array(GAPS), mean, count)
