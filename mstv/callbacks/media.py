"""Pictures, curves and videos of a training: files in the run directory, and the run of W&B or trackio, if it has one.

They have them at Lightning's number of the step that has just been done, counted from 0, as the metrics of that step.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger
from PIL import Image

from mstv.data.schema import atomic_path
from mstv.tracking.media_loggers import media_loggers


def loggers_of(trainer: Trainer) -> list[Any]:
    """The loggers of W&B and of trackio, on the first rank alone."""
    return media_loggers(trainer.loggers) if trainer.is_global_zero else []


def media_path(trainer: Trainer, name: str, suffix: str) -> Path:
    """`<run>/media/<name>-<step>.<suffix>`."""
    folder = Path(trainer.default_root_dir) / "media"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}-{trainer.global_step:07d}.{suffix}"


def log_picture(trainer: Trainer, name: str, picture: np.ndarray) -> None:
    """Save uint8 (H, W, 3) as PNG and log it; slashes of a name are hyphens in the file's."""
    path = media_path(trainer, name.replace("/", "-"), "png")
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, "png")
    for logger in loggers_of(trainer):
        logger.log_image(name, [str(path)], step=trainer.global_step - 1)


def log_video(trainer: Trainer, name: str, path: Path) -> None:
    """Log an mp4 that is already in the run directory; files need no encoder on W&B's side, arrays do."""
    for logger in loggers_of(trainer):
        logger.log_video(name, [str(path)], step=trainer.global_step - 1, format=["mp4"])


def log_curves(trainer: Trainer, name: str, x: Sequence[int], curves: dict[str, Sequence[float]], x_name: str) -> None:
    """Log lines over a common axis as a native chart of W&B, one for each step."""
    for logger in loggers_of(trainer):
        if not isinstance(logger, WandbLogger):
            continue
        import wandb

        chart = wandb.plot.line_series(
            xs=list(x), ys=[list(y) for y in curves.values()], keys=list(curves), title=name, xname=x_name
        )
        logger.experiment.log({name: chart, "trainer/global_step": trainer.global_step - 1})


def log_table(trainer: Trainer, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Log a table."""
    for logger in loggers_of(trainer):
        logger.log_table(name, list(columns), [list(row) for row in rows], step=trainer.global_step - 1)
