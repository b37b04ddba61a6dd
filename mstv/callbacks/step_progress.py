"""One progress bar over all training steps."""

import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import TaskID

from mstv.callbacks.throughput import Throughput
from mstv.callbacks.training_log import TrainingLog
from mstv.progress import Bar, progress

EVERY_SECONDS = 0.2


class StepProgress(ProgressBar):
    """Steps done of `max_steps`, their rate and the time left; under it loss, samples/s and tokens/s as last logged.

    It shows what the two callbacks have logged anyway and moves now and then, so that no step waits for it or for the
    device. Epochs are only a unit here.

    Args:
        log: knows the loss.
        throughput: knows the rates.
    """

    def __init__(self, log: TrainingLog, throughput: Throughput) -> None:
        super().__init__()
        self._log = log
        self._throughput = throughput
        self._enabled = True
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._moved_at = 0.0

    def disable(self) -> None:
        """Called by Lightning on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Called by Lightning."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        if self._enabled and trainer.is_global_zero:
            self._bar = progress("steps")
            total = trainer.max_steps if trainer.max_steps > 0 else None
            self._task = self._bar.add_task("training", total=total, completed=trainer.global_step)
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move it, if it has stood for a while."""
        if time.monotonic() - self._moved_at >= EVERY_SECONDS or trainer.global_step == trainer.max_steps:
            self._move(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what the validation said."""
        self._move(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave it standing."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._stop()

    def _move(self, trainer: Trainer) -> None:
        if self._bar is None:
            return
        self._moved_at = time.monotonic()
        parts = []
        if "loss" in self._log.latest:
            parts.append(f"loss {self._log.latest['loss']:.4g}")
        for name, unit in (("samples_per_second", "samples/s"), ("tokens_per_second", "tokens/s")):
            if name in self._throughput.latest:
                parts.append(f"{_short(self._throughput.latest[name])} {unit}")
        # Only validations say what is shown here, and they hold numbers already.
        shown = self.get_metrics(trainer, trainer.lightning_module)
        parts += [f"{name} {value:.4g}" for name, value in shown.items() if name.startswith("validation/")]
        self._bar.remark = ", ".join(parts)
        self._bar.update(self._task, completed=trainer.global_step)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _short(number: float) -> str:
    """With three digits that count, such as 12.3, 1.23k, 12.3M."""
    prefix, scale = next((pair for pair in (("G", 1e9), ("M", 1e6), ("k", 1e3)) if number >= pair[1]), ("", 1.0))
    digits = 2 if number < 10 * scale else 1 if number < 100 * scale else 0
    return f"{number / scale:.{digits}f}{prefix}"
