"""One progress bar over all training steps."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import Progress, TaskID

from mstv.progress import progress


class StepProgress(ProgressBar):
    """Steps done of `max_steps`, steps per second, time left and the logged metrics; epochs are only a unit here."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: Progress | None = None
        self._task = TaskID(0)

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
        """Move it."""
        if self._bar is not None:
            metrics = self.get_metrics(trainer, pl_module)
            text = " ".join(f"{name.split('/')[-1]} {value:.4g}" for name, value in metrics.items() if name != "v_num")
            self._bar.update(self._task, completed=trainer.global_step, description=f"training {text}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave it standing."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
