"""`summary.json`: the numbers for a table, computed from the scores; with it an evaluation is complete."""

from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float
from pydantic import Field

from mstv.data.results.actions import ActionSummary
from mstv.data.results.card import Card, GroundTruth, Key
from mstv.data.results.distances import read_distances
from mstv.data.results.layout import CARD, SUMMARY
from mstv.data.results.revisit_scores import REVISIT, REVISIT_STATISTIC, RevisitMeans
from mstv.data.results.scores import EpisodeCurves, Series, episode_curves, read_scores
from mstv.data.results.series_summary import SeriesSummary, WindowMean
from mstv.data.schema import Record

SUMMARY_HORIZONS = (1, 16, 64, 256)
WINDOW = "mean over the frames at horizons (h/2, h], then over episodes"
INTERVAL = "95% percentile bootstrap over episodes, 1000 resamples"


class Summary(Record):
    """`summary.json`: the numbers for a table."""

    protocol: Key
    window: str = WINDOW
    interval: str = INTERVAL
    interval_seed: int = 0
    values: tuple[SeriesSummary, ...]
    revisit: str = REVISIT
    revisit_statistic: str = REVISIT_STATISTIC
    revisits: tuple[RevisitMeans, ...] = Field(default=(), description="empty where no pose is known, or comes back")
    actions: ActionSummary | None = Field(default=None, description="None where no model told them from the frames")
    rollout_seconds: float | None = Field(default=None, description="wall clock of generating all episodes")
    frames_per_second: float | None = Field(default=None, description="generated frames over rollout_seconds")


def bootstrap_interval(
    values: Float[np.ndarray, "E *rest"], seed: int = 0, resamples: int = 1000
) -> tuple[Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"]] | None:
    """95 % percentile interval of the mean over episodes (axis 0), the same draw of episodes for every column.

    None with a single episode: it says nothing of the others.
    """
    count = len(values)
    if count < 2:
        return None
    drawn = np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=resamples) / count
    low, high = np.percentile(np.tensordot(drawn, values, axes=1), [2.5, 97.5], axis=0)
    return np.asarray(low), np.asarray(high)


def summarise(
    folder: Path, rollout_seconds: float | None = None, seed: int = 0, revisits: tuple[RevisitMeans, ...] = ()
) -> Summary:
    """Compute and write `summary.json` from the merged scores and the distances; this completes the evaluation.

    Args:
        folder: of the evaluation, with its card and merged scores.
        rollout_seconds: wall clock of generating all episodes, if it was measured.
        seed: of the bootstrap.
        revisits: the table of the revisits, see `mstv.evaluation.revisit_scoring.revisit_means`.

    Raises:
        UserError: as `read_scores` and `episode_curves`.
    """
    card, scores = Card.read(folder / CARD), read_scores(folder)
    values = []
    for metric in pc.unique(scores["metric"]).to_pylist():
        for truth in get_args(GroundTruth):
            for series in get_args(Series):
                if curves := episode_curves(scores, metric, truth, series):
                    values.append(_summarise_series(metric, truth, series, curves, seed))
    generated = card.num_episodes * (card.end_frame - card.context_frames)
    summary = Summary(
        protocol=card.protocol,
        interval_seed=seed,
        values=(*values, *read_distances(folder)),
        revisits=revisits,
        # Told by another command than the one that adds metrics.
        actions=Summary.read(folder / SUMMARY).actions if (folder / SUMMARY).is_file() else None,
        rollout_seconds=rollout_seconds,
        frames_per_second=generated / rollout_seconds if rollout_seconds else None,
    )
    summary.write(folder / SUMMARY)
    return summary


def _summarise_series(
    metric: str, truth: GroundTruth, series: Series, curves: EpisodeCurves, seed: int
) -> SeriesSummary:
    def window(first: int, last: int) -> WindowMean:
        inside = (curves.horizon >= first) & (curves.horizon <= last)
        means = curves.values[:, inside].mean(1)
        bounds = bootstrap_interval(means, seed)
        interval = (float(bounds[0]), float(bounds[1])) if bounds else None
        return WindowMean(horizon=last, first=first, value=float(means.mean()), interval=interval)

    present, last = set(curves.horizon.tolist()), int(curves.horizon[-1])
    return SeriesSummary(
        metric=metric,
        ground_truth=truth,
        series=series,
        num_episodes=len(curves.episodes),
        num_frames=curves.values.size,
        overall=window(int(curves.horizon[0]), last),
        pooled=float(-10 * np.log10((10 ** (-curves.values / 10)).mean())) if metric == "psnr" else None,
        horizons=tuple(window(h // 2 + 1, h) for h in sorted({*SUMMARY_HORIZONS, last} & present)),
    )
