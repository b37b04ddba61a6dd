"""What the page's scripts draw, ready for JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mstv.compare.comparison import Comparison
from mstv.compare.cost import CostTable
from mstv.compare.curves import Curve, panels
from mstv.compare.training_log import TrainingLog
from mstv.compare.wall import WallRow


def page_data(comparison: Comparison, rows: Sequence[WallRow], costs: CostTable) -> dict[str, Any]:
    """Numbers of the page.

    Args:
        comparison: the runs.
        rows: the wall of videos.
        costs: quality is drawn against some of its columns.
    """
    card = comparison.card
    return {
        "runs": [entry.label for entry in comparison.entries],
        "context": card.context_frames,
        "first": card.video_first_frame,
        "end": card.end_frame,
        "fps": card.fps,
        "panels": [
            {
                "metric": panel.metric.name,
                "title": panel.title,
                "truth": panel.ground_truth,
                "detail": detail,
                "curves": [_curve(curve) for curve in panel.curves],
            }
            for detail in ("averaged", "frames")
            for panel in panels(comparison, averaged=detail == "averaged")
        ],
        "training": _training([entry.training for entry in comparison.entries]),
        "cost": {
            "quality": costs.columns[0],
            "points": [[cell.number for cell in row] for row in costs.rows],
        },
        "strips": [[screen.psnr for screen in row.screens] for row in rows],
        "revisits": [
            row.revisits
            and {
                "frames": row.revisits.frames,
                "seen": row.revisits.last_seen,
                "arrivals": [revisit.frame for revisit in row.revisits.arrivals],
            }
            for row in rows
        ],
    }


def _training(training: Sequence[TrainingLog]) -> list[dict[str, Any]]:
    """Each logged quantity with the curves of the runs that logged it; whole losses first."""
    names = list(dict.fromkeys(curve.name for log in training for curve in log.curves))
    names.sort(key=lambda name: name.rsplit("/", 1)[-1] != "loss")
    return [
        {
            "name": name,
            "curves": [
                {"run": run, "x": curve.step, "y": curve.value, "group": curve.values_per_point}
                for run, log in enumerate(training)
                for curve in log.curves
                if curve.name == name
            ],
        }
        for name in names
    ]


def _curve(curve: Curve) -> dict[str, Any]:
    low, high = curve.interval or (None, None)
    return {
        "run": curve.run,
        "runs": curve.runs,
        "label": curve.label,
        "series": curve.series,
        "x": curve.horizon.tolist(),
        "y": _rounded(curve.mean),
        "low": None if low is None else _rounded(low),
        "high": None if high is None else _rounded(high),
    }


def _rounded(values: Float[np.ndarray, " H"]) -> list[float]:
    """Four decimals are more than one sees; they keep the page small."""
    return [float(value) for value in np.round(values, 4)]
