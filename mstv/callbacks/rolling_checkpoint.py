"""The checkpoint that a killed run resumes from."""

import os
import time
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


class RollingCheckpoint(Checkpoint):
    """Writes `<run>/checkpoints/last.ckpt` every so many seconds and at the last step, atomically.

    Lightning logs a step's metrics only after `on_train_batch_end`. A checkpoint takes its name when they stand in the
    logs, at the next hook: a resumed run does not log that step again, so a kill in between would lose them.

    Args:
        folder: where to write.
        every_seconds: what a kill at any moment loses at most, besides the time of one step and one validation.
    """

    def __init__(self, folder: Path, every_seconds: float) -> None:
        self.path = folder / "last.ckpt"
        self._written = folder / ".last.ckpt.tmp"
        self._due = False
        self.every_seconds = every_seconds
        self._saved_at = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write when it is time."""
        due = time.monotonic() - self._saved_at >= self.every_seconds or trainer.global_step >= trainer.max_steps > 0
        # Saving is collective: all ranks do as rank 0 says.
        if not trainer.strategy.broadcast(due):
            return
        trainer.save_checkpoint(self._written)
        self._due = True
        self._saved_at = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Put the checkpoint in its place."""
        self._commit(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the checkpoint in its place."""
        self._commit(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the checkpoint in its place."""
        self._commit(trainer)

    def _commit(self, trainer: Trainer) -> None:
        if not self._due:
            return
        for logger in trainer.loggers:
            logger.save()
        if trainer.is_global_zero:
            os.replace(self._written, self.path)
        self._due = False
