"""The checkpoints that a run resumes from, and the best one."""

import contextlib
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from mstv.callbacks.agreement import Agreement
from mstv.callbacks.preemption import Preempted, Preemption, Request
from mstv.callbacks.throughput import outside_training
from mstv.errors import UserError

LAST = "last.ckpt"
BEST = "best.ckpt"


class RollingCheckpoint(Checkpoint):
    """Writes `<run>/checkpoints/last.ckpt` every so many seconds and at the last step, atomically.

    The newest are also kept as `step-<n>.ckpt`, other names of the same files, and `best.ckpt` is the one with the
    best value of the metric that `module.monitor` names. A module that says it is `diverging` is not saved.

    Lightning logs a step's metrics only after `on_train_batch_end`. A checkpoint takes its name when they stand in the
    logs, at the next hook: a resumed run does not log that step again, so a kill in between would lose them. Where a
    validation belongs to the step, Lightning would not repeat it after a resume, so the checkpoint is taken behind it.
    Within the accumulation of gradients there is none, for gradients are not saved.

    Args:
        folder: where to write.
        every_seconds: what a kill at any moment loses at most, besides the time of one step and one validation.
        num_older: checkpoints kept besides the newest.
        preemption: says whether a signal asks to stop.
    """

    def __init__(
        self, folder: Path, every_seconds: float, num_older: int = 2, preemption: Preemption | None = None
    ) -> None:
        self.folder = folder
        self.every_seconds = every_seconds
        self.num_older = num_older
        self.best: float | None = None
        self._preemption = preemption or Preemption()
        self._agreement = Agreement()
        self._temporary = folder / f".{LAST}.tmp"
        self._saved_at = time.monotonic()
        self._step = 0
        self._agreed = Request.NOTHING
        self._is_best = False
        self._written = False
        self._settled = False

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The best value so far."""
        self.best = state_dict["best"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock.

        Raises:
            UserError: not all ranks resume from the same checkpoint, or each would validate by a clock of its own.
        """
        if trainer.world_size > 1 and trainer._val_check_time_interval is not None:  # type: ignore[attr-defined]
            raise UserError("trainer.val_check_interval is a time, which ranks measure differently: give it in batches")
        self._agreement.open()
        self._saved_at = time.monotonic()
        self._step = trainer.global_step
        last, first = self._agreement.largest(self._step, -self._step)
        if last + first:
            raise UserError(
                f"{self.folder}: one rank resumes from step {-first}, another from {last}: --run must be in a folder "
                "that all nodes share"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write when it is time or a signal has come, unless a validation comes first."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._agree(trainer, self._is_due(trainer), self._is_best)
        if self._agreed or self._is_best:
            loop = trainer.fit_loop
            assert loop._data_fetcher is not None
            if not loop.epoch_loop._should_check_val_fx(loop._data_fetcher):
                self._save(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Put the checkpoint in its place, and stop if that was asked."""
        self._commit(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the checkpoint in its place."""
        self._commit(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write if the step's checkpoint has waited for this, or if the model is the best so far."""
        if trainer.sanity_checking:
            return
        improved = self._has_improved(trainer, pl_module)
        self._agree(trainer, trainer.should_stop, improved)
        loop = trainer.fit_loop.epoch_loop
        if (self._agreed or self._is_best) and not loop._should_accumulate():
            self._save(trainer, pl_module)
            self._commit(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the checkpoint in its place; there is nothing left to stop."""
        with contextlib.suppress(Preempted):
            self._commit(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the ranks' group."""
        self._agreement.close()

    def _is_due(self, trainer: Trainer) -> bool:
        ended = trainer.should_stop or trainer.global_step >= trainer.max_steps > 0
        # -1 and None are no limit.
        ended |= trainer.is_last_batch and trainer.current_epoch + 1 >= (trainer.max_epochs or 0) > 0
        # One clock decides.
        return ended or (trainer.is_global_zero and time.monotonic() - self._saved_at >= self.every_seconds)

    def _agree(self, trainer: Trainer, due: bool, is_best: bool) -> None:
        wanted = max(self._preemption.request, Request(due), self._agreed)
        agreed, best = self._agreement.largest(wanted, is_best and trainer.is_global_zero)
        self._agreed, self._is_best = Request(agreed), bool(best)

    def _has_improved(self, trainer: Trainer, module: LightningModule) -> bool:
        """Whether the validation that has just ended is the best so far; notes its value."""
        name, mode = getattr(module, "monitor", ("", "min"))
        if name not in trainer.callback_metrics:
            return False
        value = float(trainer.callback_metrics[name])
        better = self.best is None or (value < self.best if mode == "min" else value > self.best)
        if math.isnan(value) or not better:
            return False
        self.best = value
        return True

    def _save(self, trainer: Trainer, module: LightningModule) -> None:
        (diverging,) = self._agreement.largest(bool(getattr(module, "diverging", False)))
        if not diverging:
            with outside_training(trainer):
                trainer.save_checkpoint(self._temporary)
        # Without a new checkpoint the one that is there stays, and a stop is still a stop.
        self._written, self._settled = not diverging, True

    def _commit(self, trainer: Trainer) -> None:
        if not self._settled:
            return
        if self._written:
            for logger in trainer.loggers:
                logger.save()
            if trainer.is_global_zero:
                self._name(trainer.global_step)
            self._saved_at = time.monotonic()
        agreed = self._agreed
        self._agreed, self._is_best, self._written, self._settled = Request.NOTHING, False, False, False
        if agreed >= Request.STOP:
            raise Preempted(agreed == Request.REQUEUE)

    def _name(self, step: int) -> None:
        """Give the written file its names: at every moment between, all files that are there are whole."""
        with self._temporary.open("rb") as file:
            os.fsync(file.fileno())
        for name in (f"step-{step}.ckpt", *([BEST] if self._is_best else [])):
            _name_also(self._temporary, self.folder / name)
        os.replace(self._temporary, self.folder / LAST)
        # By age, not by step: who went back to an older checkpoint writes smaller steps later.
        of_steps = sorted(self.folder.glob("step-*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
        for path in of_steps[: -1 - self.num_older]:
            path.unlink()


def _name_also(path: Path, name: Path) -> None:
    """A second name of a file, in place of what had it; a copy where the file system has no second names."""
    temporary = name.with_name(f".{name.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        os.link(path, temporary)
    except OSError:
        shutil.copy2(path, temporary)
    os.replace(temporary, name)
