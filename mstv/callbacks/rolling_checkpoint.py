"""The checkpoint that a killed run resumes from."""

import os
import time
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


class RollingCheckpoint(Checkpoint):
    """Writes `<run>/checkpoints/last.ckpt` every so many seconds and at the last step, atomically.

    Args:
        folder: where to write.
        every_seconds: what a kill at any moment loses at most, besides the time of one step and one validation.
    """

    def __init__(self, folder: Path, every_seconds: float) -> None:
        self.path = folder / "last.ckpt"
        self.every_seconds = every_seconds
        self._saved_at = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time."""
        due = time.monotonic() - self._saved_at >= self.every_seconds or trainer.global_step >= trainer.max_steps > 0
        # Saving is collective: all ranks do as rank 0 says.
        if not trainer.strategy.broadcast(due):
            return
        for logger in trainer.loggers:
            # What was logged before the checkpoint is not logged again after a resume.
            logger.save()
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            os.replace(temporary, self.path)
        self._saved_at = time.monotonic()
