"""Does the model show again what it showed before? The revisits of an episode scored, and their table by gap.

A revisit is a generated frame whose pose the walk had before, and had left for at least `AWAY` frames. It is scored
against the latest earlier visit. The tolerances are those of `mstv.metrics.find_revisits` (0.25 blocks, 2.5 degrees):
tight, since a view that is turned by 15 degrees is another picture, whose score says nothing of memory. Pages jump by
those of `mstv.data.revisits.Tolerance` (0.5 blocks, 15 degrees), where it is enough that one recognises the place.
"""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float
from torch import Tensor

from mstv.data.results import (
    MIN_GAP,
    REVISIT_GAPS,
    REVISIT_SCORES,
    REVISIT_STATISTIC,
    REVISITS,
    GapMean,
    GroundTruth,
    MetricNote,
    Reference,
    RevisitMeans,
    Revisits,
    SeenIn,
    Series,
    episode_curves,
    revisit_rows,
)
from mstv.data.revisits import Tolerance
from mstv.evaluation.episode import Episode
from mstv.metrics import (
    FrameDINO,
    FrameKeypoints,
    FrameLPIPS,
    FramePSNR,
    FrameSSIM,
    HorizonMetric,
    bootstrap_mean,
    find_revisits,
)
from mstv.metrics.revisit_consistency import from_averaged, pair_values, to_averaged
from mstv.metrics.revisits import ANGLE_TOLERANCE, AWAY, POSITION_TOLERANCE

VERSION = 1
"""Grows when the same videos would get other scores of revisits."""
GAPS = REVISIT_GAPS
"""First gap, in frames since the place was last seen, of each bin; the last has no end."""
OF_PLACES = (FramePSNR, FrameSSIM, FrameLPIPS, FrameDINO, FrameKeypoints)
"""Metrics that tell whether two frames show the same; those of drift do not."""


def revisit_note() -> MetricNote:
    """What defines the scores of revisits, of whatever metric: which frames are revisits, of what, and their bins.

    A metric itself has its own note.
    """
    definition: dict[str, Any] = {
        "name": REVISITS,
        "version": VERSION,
        "unit": "that of each metric",
        "better": "as each metric",
        "aggregation": REVISIT_STATISTIC,
        "resize": "none",
        "source": "mstv",
        "position_tolerance_blocks": POSITION_TOLERANCE,
        "angle_tolerance_degrees": ANGLE_TOLERANCE,
        "away_frames": AWAY,
        "visit": "the latest earlier one, of its frames that with the nearest pose",
        "first_gaps": list(GAPS),
        "references": list(get_args(Reference)),
        "seen_in": list(get_args(SeenIn)),
    }
    return MetricNote(name=REVISITS, aggregation=REVISIT_STATISTIC, definition=definition)


def score_revisits(
    episode: Episode,
    poses: Float[np.ndarray, "_ 5"] | None,
    metrics: Sequence[HorizonMetric],
    scores: pa.Table,
    seed: int,
    device: torch.device | None = None,
) -> pa.Table:
    """Every metric `OF_PLACES` at every revisit of an episode: of the rollout and of both bounds.

    Args:
        episode: the frames.
        poses: at least as many as there are frames: x, y, z in blocks, yaw and pitch in degrees; None: no rows.
        metrics: what per-frame scores were made with, their networks on `device`.
        scores: rows of `SCORES` of this episode, from which those against the truth are taken.
        seed: of the card: of the lower bound's order, and of the draw of other places.
        device: where to measure; None is the CPU.

    Returns:
        Rows of `REVISIT_SCORES`, without any where no place is seen again or a pose is not finite.
    """
    rows = [REVISIT_SCORES.empty_table()]
    if poses is None or not np.isfinite(poses[: episode.end_frame]).all():
        return rows[0]
    found = find_revisits(poses[: episode.end_frame], episode.context_frames, away=AWAY, seed=seed)
    found = found.select(found.latest)
    if not len(found.frame):
        return rows[0]
    order = np.arange(episode.end_frame)
    order[episode.context_frames :] = episode.shuffled(seed).numpy()

    def add(metric: str, reference: Reference, series: Series, value: np.ndarray) -> None:
        rows.append(revisit_rows(episode.key, found.frame, found.earlier, metric, reference, series, value))

    on = device or torch.device("cpu")
    for metric in metrics:
        if not isinstance(metric, OF_PLACES):
            continue
        for truth in get_args(GroundTruth):
            for series in get_args(Series):
                if curves := episode_curves(scores, metric.name, truth, series):
                    column = np.searchsorted(curves.horizon, found.frame - episode.context_frames + 1)
                    add(metric.name, truth, series, curves.values[0, column])
        made, true = episode.generated, episode.decoded
        pairs: dict[tuple[Reference, Series], tuple[Tensor, np.ndarray, np.ndarray]] = {
            ("own", "generated"): (made, found.frame, found.earlier),
            ("elsewhere", "generated"): (made, found.frame, found.elsewhere),
            ("elsewhere", "upper_bound"): (true, found.frame, found.elsewhere),
            ("own", "upper_bound"): (true, found.frame, found.earlier),
            ("own", "lower_bound"): (true, order[found.frame], order[found.earlier]),
        }
        for (reference, series), (video, one, other) in pairs.items():
            add(metric.name, reference, series, pair_values(metric, video, one, video, other, on))
    return pa.concat_tables(rows)


def recognisable_revisits(poses: Float[np.ndarray, "_ 5"] | None, context_frames: int) -> Revisits:
    """Generated frames of a place that one recognises, after `MIN_GAP` frames or more elsewhere.

    Args:
        poses: of every frame, as for `score_revisits`; None, or one that is not finite: none are known.
        context_frames: frames that were given.

    Returns:
        Frames, ascending, and of each that of the latest visit before with the nearest pose.
    """
    if poses is None or not np.isfinite(poses).all():
        return np.empty(0, int), np.empty(0, int)
    tolerance = Tolerance()
    found = find_revisits(poses, context_frames, tolerance.position, tolerance.angle)
    found = found.select(found.latest & (found.absent >= MIN_GAP))
    return found.frame, found.earlier


def revisit_means(
    scores: pa.Table, episodes: Sequence[str], context_frames: int, seed: int = 0
) -> tuple[RevisitMeans, ...]:
    """The table of the revisits by how long ago the place was seen; `REVISIT_STATISTIC` says how.

    Args:
        scores: rows of `REVISIT_SCORES` of an evaluation.
        episodes: of the card, in order: those without a revisit are part of the draw of the intervals.
        context_frames: of the card.
        seed: of the bootstrap.
    """
    tables = []
    # In one thread the order is that of the rows, each time the same.
    kinds = scores.group_by(["metric", "reference", "series"], use_threads=False).aggregate([])
    for kind in kinds.to_pylist():
        rows = scores
        for name, value in kind.items():
            rows = rows.filter(pc.equal(rows[name], value))
        frame, earlier = rows["frame"].to_numpy(), rows["earlier"].to_numpy()
        values = rows["value"].to_numpy()
        index = pc.index_in(rows["episode"], value_set=pa.array(episodes)).to_numpy()
        for seen_in in get_args(SeenIn):
            part = _where(seen_in, earlier < context_frames)
            if part.any():
                bins = _Bins(kind["metric"], index[part], (frame - earlier)[part], values[part], len(episodes), seed)
                overall = bins.mean(GAPS[0], np.inf)
                tables.append(RevisitMeans(**kind, seen_in=seen_in, overall=overall, gaps=bins.means()))
    return tuple(tables)


def _where(seen_in: SeenIn, in_context: np.ndarray) -> np.ndarray:
    return np.ones_like(in_context) if seen_in == "anywhere" else in_context == (seen_in == "context")


class _Bins:
    """Revisits of one metric, reference and series: the episode, gap and value of each."""

    def __init__(
        self, metric: str, episode: np.ndarray, gap: np.ndarray, value: np.ndarray, num_episodes: int, seed: int
    ) -> None:
        self._metric = metric
        self._episode, self._gap, self._num_episodes, self._seed = episode, gap, num_episodes, seed
        self._value = to_averaged(metric, value)

    def means(self) -> tuple[GapMean, ...]:
        """Of each bin that holds revisits."""
        number = np.searchsorted(GAPS, self._gap, side="right") - 1
        following = (*map(float, GAPS[1:]), np.inf)
        return tuple(self.mean(GAPS[n], following[n]) for n in np.unique(number))

    def mean(self, first: int, following: float) -> GapMean:
        """Of the gaps in [first, following), where there are some."""
        chosen = (self._gap >= first) & (self._gap < following)
        episode = self._episode[chosen]
        count = np.bincount(episode, minlength=self._num_episodes)
        total = np.bincount(episode, self._value[chosen], self._num_episodes)
        by_episode = np.divide(total, count, out=np.full(self._num_episodes, np.nan), where=count > 0)
        averaged = bootstrap_mean(by_episode, self._seed)
        mean, low, high = (float(from_averaged(self._metric, part)) for part in averaged)
        low, high = min(low, high), max(low, high)  # the larger error is the lower bound
        return GapMean(
            first_gap=first,
            value=mean,
            interval=None if np.isnan(low) else (low, high),
            num_episodes=int((count > 0).sum()),
            num_frames=int(count.sum()),
        )
