"""Curves of a comparison: a metric against the horizon."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from jaxtyping import Float, Int

from mstv.compare.comparison import BoundOwner, Comparison
from mstv.compare.shown_metric import ShownMetric
from mstv.data.results import EpisodeCurves, GroundTruth, Series, bootstrap_interval, episode_curves

SERIES_TITLES: dict[str, str] = {
    "generated": "generated",
    "upper_bound": "upper bound (decoded true latents)",
    "lower_bound": "lower bound (shuffled true latents)",
}
SPREAD = 1.25
"""An averaged curve at horizon h is the mean over the horizons from h / SPREAD to h * SPREAD."""
POINTS_PER_OCTAVE = 8


@dataclass(frozen=True)
class Curve:
    """Mean over episodes of one metric at each horizon, and its 95 % interval."""

    run: int | None
    """Index of the run whose colour it takes; None for bounds that all runs share."""
    runs: tuple[int, ...]
    """Runs that it belongs to."""
    label: str
    series: Series
    horizon: Int[np.ndarray, " H"]
    mean: Float[np.ndarray, " H"]
    interval: tuple[Float[np.ndarray, " H"], Float[np.ndarray, " H"]] | None
    """None with a single episode."""


@dataclass(frozen=True)
class Panel:
    """All curves of one metric against one ground truth."""

    metric: ShownMetric
    ground_truth: GroundTruth
    curves: tuple[Curve, ...]

    @property
    def title(self) -> str:
        """Name of the metric with its unit, and what it compares with."""
        return self.metric.against(self.ground_truth)


def panels(comparison: Comparison, averaged: bool = False) -> list[Panel]:
    """A panel for each ground truth and metric that was scored; of one ground truth together, raw first.

    Args:
        comparison: the runs.
        averaged: over neighbouring horizons, see `SPREAD`, at a few horizons; otherwise at each.

    Raises:
        UserError: a run's scores are damaged.
    """
    found = []
    for truth in get_args(GroundTruth):
        for metric in comparison.metrics:
            curves = []
            for run, entry in enumerate(comparison.entries):
                curves.append(_curve(BoundOwner((run,), entry, entry.label), metric.name, truth, "generated", averaged))
            for series in ("upper_bound", "lower_bound"):
                curves += [_curve(owner, metric.name, truth, series, averaged) for owner in comparison.bound_owners]
            if kept := tuple(curve for curve in curves if curve):
                found.append(Panel(metric, truth, kept))
    return found


def series_label(owner: BoundOwner, series: Series) -> str:
    """What a curve or a row of a table is called."""
    if series == "generated":
        return owner.label
    return ": ".join(filter(None, [owner.label, SERIES_TITLES[series]]))


def _curve(owner: BoundOwner, metric: str, truth: GroundTruth, series: Series, averaged: bool) -> Curve | None:
    scores = episode_curves(owner.entry.scores, metric, truth, series)
    if scores is None:
        return None
    if averaged:
        scores = _averaged(scores)
    mean, interval = scores.values.mean(0), bootstrap_interval(scores.values)
    return Curve(owner.run, owner.runs, series_label(owner, series), series, scores.horizon, mean, interval)


def _averaged(scores: EpisodeCurves) -> EpisodeCurves:
    first, last = scores.horizon[0], scores.horizon[-1]
    points = 1 + int(np.ceil(np.log2(last / first) * POINTS_PER_OCTAVE))
    horizons = np.unique(np.round(np.geomspace(first, last, points)).astype(scores.horizon.dtype))
    windows = [(scores.horizon >= h / SPREAD) & (scores.horizon <= h * SPREAD) for h in horizons]
    values = np.stack([scores.values[:, window].mean(1) for window in windows], axis=1)
    return EpisodeCurves(scores.episodes, horizons, values)
