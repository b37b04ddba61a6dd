"""What a training shows of its long rollouts: W&B's own charts and tables, and files for whoever has no W&B."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from lightning import Trainer

from mstv.callbacks.media import log_curves, log_picture, log_table, loggers_of, media_path
from mstv.callbacks.rollout_scores import RolloutScores
from mstv.callbacks.rollout_videos import draw_curves
from mstv.callbacks.turn import Problems
from mstv.data.results.training_rollout import TrainingRollout, TrainingRolloutCard
from mstv.tracking.media_loggers import log_by_horizon
from mstv.tracking.revisit_table import REVISIT_COLUMNS, revisit_numbers, revisit_table

HORIZONS = (1, 4, 16, 64, 256)
"""Of the logged means, over horizons (h/2, h]."""
Curves = dict[Any, Float[np.ndarray, " T"]]
"""By series."""


def report(
    trainer: Trainer, card: TrainingRolloutCard, scores: RolloutScores, is_last: bool, problems: Problems
) -> None:
    """Log numbers, curves and the table of revisits; a part that fails is noted, and the others go on.

    Args:
        trainer: knows the loggers and the run directory.
        card: of the episodes that were scored.
        scores: of at least one episode.
        is_last: of this training: its curves are lines that runs of as many steps share a chart of.
        problems: what failed.
    """
    curves, revisits = scores.psnr(), scores.revisits(card.context_frames)
    # First what needs no network.
    with problems.of("numbers"):
        rounded = {name: tuple(np.round(values, 3).tolist()) for name, values in curves.items()}
        record = TrainingRollout(card=card, scored_against=scores.truth, psnr=rounded, revisits=revisits)
        record.write(media_path(trainer, "rollout", "json"))
    scalars = _scalars(curves) | revisit_numbers("rollout", revisits)
    for logger in trainer.loggers:
        with problems.of("logging"):
            # Lightning's number of the step that has just been done.
            logger.log_metrics(scalars, step=trainer.global_step - 1)
    with problems.of("pictures"):
        log_picture(trainer, "rollout/curves", draw_curves(curves, revisits))
    horizon = list(range(1, len(curves["generated"]) + 1))
    with problems.of("logging"):
        log_curves(trainer, "rollout/psnr", horizon, {k: v.tolist() for k, v in curves.items()}, "horizon")
    if is_last:
        with problems.of("logging"):
            _log_lines(trainer, curves)
    if revisits:
        with problems.of("logging"):
            log_table(trainer, "rollout/revisits", REVISIT_COLUMNS, revisit_table(revisits))


def _scalars(curves: Curves) -> dict[str, float]:
    generated = curves["generated"]
    found = {f"rollout/psnr_h{h}": float(generated[h // 2 : h].mean()) for h in HORIZONS if h <= len(generated)}
    return found | {f"rollout/psnr_{name}": float(curves[name].mean()) for name in curves if name != "generated"}


def _log_lines(trainer: Trainer, curves: Curves) -> None:
    """Smoothed as in the picture; their group names the step, for a training may be prolonged."""
    last = len(curves["generated"])
    horizon = np.unique(np.geomspace(1, last, 1 + math.ceil(8 * math.log2(last))).round().astype(int))
    lines = {
        f"psnr/{name}": (horizon, np.array([values[h // 2 : h].mean() for h in horizon], float))
        for name, values in curves.items()
    }
    for logger in loggers_of(trainer):
        log_by_horizon(logger, f"rollout_after_{trainer.global_step}", lines)
