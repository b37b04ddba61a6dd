"""Curves of a comparison: a metric against the horizon."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from jaxtyping import Float, Int

from mstv.compare.comparison import Comparison, Entry
from mstv.data.results import GroundTruth, Series, bootstrap_interval, episode_curves

METRIC_TITLES = {"psnr": "PSNR (dB)", "ssim": "SSIM"}
SERIES_TITLES: dict[str, str] = {
    "generated": "generated",
    "upper_bound": "upper bound (decoded true latents)",
    "lower_bound": "lower bound (shuffled true latents)",
}


@dataclass(frozen=True)
class Curve:
    """Mean over episodes of one metric at each horizon, and its 95 % interval."""

    run: int | None
    """Index of the run; None for bounds that all runs share."""
    label: str
    series: Series
    horizon: Int[np.ndarray, " H"]
    mean: Float[np.ndarray, " H"]
    interval: tuple[Float[np.ndarray, " H"], Float[np.ndarray, " H"]] | None
    """None with a single episode."""


@dataclass(frozen=True)
class Panel:
    """All curves of one metric against one ground truth."""

    metric: str
    ground_truth: GroundTruth
    curves: tuple[Curve, ...]

    @property
    def title(self) -> str:
        """Name of the metric with its unit."""
        return METRIC_TITLES.get(self.metric, self.metric)


def panels(comparison: Comparison) -> list[Panel]:
    """A panel for each ground truth and metric that was scored; of one ground truth together, raw first.

    Raises:
        UserError: a run's scores are damaged.
    """
    found = []
    for truth in get_args(GroundTruth):
        for metric in comparison.metrics:
            curves = [_curve(entry, run, metric, truth, "generated") for run, entry in enumerate(comparison.entries)]
            for series in ("upper_bound", "lower_bound"):
                curves += [_curve(entry, run, metric, truth, series) for run, entry in comparison.bound_owners]
            if kept := tuple(curve for curve in curves if curve):
                found.append(Panel(metric, truth, kept))
    return found


def _curve(entry: Entry, run: int | None, metric: str, truth: GroundTruth, series: Series) -> Curve | None:
    scored = episode_curves(entry.scores, metric, truth, series)
    if scored is None:
        return None
    label = SERIES_TITLES[series] if run is None else entry.label
    if run is not None and series != "generated":
        label = f"{entry.label}, {SERIES_TITLES[series]}"
    return Curve(run, label, series, scored.horizon, scored.values.mean(0), bootstrap_interval(scored.values))
