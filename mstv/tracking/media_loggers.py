"""Loggers that take pictures, videos and tables, and lines over another axis than the step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import Logger

from mstv.tracking.trackio_logger import TrackioLogger

MediaLogger = WandbLogger | TrackioLogger
Line = tuple[Int[np.ndarray, " H"], Float[np.ndarray, " H"]]


def media_loggers(loggers: Sequence[Logger]) -> list[Any]:
    """Those of W&B and of trackio."""
    return [logger for logger in loggers if isinstance(logger, MediaLogger)]


def log_by_horizon(logger: MediaLogger, group: str, lines: Mapping[str, Line]) -> None:
    """Log lines whose axis is the horizon, so that every run is one line of the same chart.

    W&B draws them over the metric `GROUP/horizon`; trackio, whose axis is the step, has the horizon there.

    Args:
        logger: of W&B or trackio.
        group: the names begin with.
        lines: horizons, which rise, and values, by the rest of the name; they may lack different horizons.
    """
    rows: dict[int, dict[str, float]] = {}
    for name, (horizon, values) in lines.items():
        for h, value in zip(horizon.tolist(), values.tolist(), strict=True):
            rows.setdefault(h, {})[f"{group}/{name}"] = value
    axis = f"{group}/horizon"
    if isinstance(logger, WandbLogger):
        logger.experiment.define_metric(axis)
        for name in lines:
            logger.experiment.define_metric(f"{group}/{name}", step_metric=axis)
    for h in sorted(rows):
        if isinstance(logger, WandbLogger):
            logger.log_metrics({axis: h, **rows[h]})
        else:
            logger.log_metrics(rows[h], step=h)
