"""What becomes of a training step whose gradient is not finite."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mstv.data.schema import atomic_path
from mstv.errors import UserError

SAVED_BATCHES = 10
"""Files that one rank writes into a run directory."""


class DivergenceGuard:
    """Counts the steps that were skipped, keeps the batches of the step in work, and says when it is enough.

    A skipped step leaves weights and moments as they were; the learning-rate schedule and the data go on. Between two
    good steps, the first skipped one writes its batches to `<run>/divergence/step-<n>-rank<r>.pt`, so that they can be
    looked at with `torch.load(path, weights_only=True)`.

    Attributes:
        skipped: steps skipped since the training began.
        in_a_row: steps skipped since the last good one.

    Args:
        max_in_a_row: steps in a row after which the training ends.
    """

    def __init__(self, max_in_a_row: int) -> None:
        self.max_in_a_row = max_in_a_row
        self.skipped = 0
        self.in_a_row = 0
        self._batches: list[tuple[int, Any]] = []
        self._losses: list[Tensor] = []

    def state_dict(self) -> dict[str, int]:
        """The counts."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The counts of a checkpoint."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]

    def watch(self, batch: Any, batch_idx: int) -> None:
        """Keep a micro-batch until its step is done."""
        self._batches.append((batch_idx, batch))

    def note_loss(self, loss: Tensor) -> None:
        """Keep the loss of the micro-batch, on its device: reading it would wait for the device."""
        self._losses.append(loss.detach())

    def has_bad_loss(self) -> bool:
        """Whether the loss of one of this rank's micro-batches is not finite."""
        return any(not loss.isfinite() for loss in self._losses)

    def step_passed(self) -> None:
        """The step was good."""
        self.in_a_row = 0
        self._forget()

    def step_skipped(self, run: Path, step: int, rank: int, gradient_norm: float, saved: bool) -> None:
        """The step was skipped.

        Args:
            run: the run directory.
            step: counted from 0, as in metrics.csv.
            rank: of this process.
            gradient_norm: not finite.
            saved: whether this rank writes its batches, if it is the first in a row.

        Raises:
            UserError: `max_in_a_row` steps were skipped.
        """
        self.skipped += 1
        self.in_a_row += 1
        if saved and self.in_a_row == 1:
            self._save(_path(run, step, rank), {"step": step, "rank": rank, "gradient_norm": gradient_norm})
        self._forget()
        if self.in_a_row >= self.max_in_a_row:
            raise UserError(self._end(run, step - self.in_a_row + 1))

    def _save(self, path: Path, entry: dict[str, Any]) -> None:
        if len(set(path.parent.glob(f"step-*-rank{entry['rank']}.pt")) - {path}) >= SAVED_BATCHES:
            return
        micro_batches = [
            {"batch_idx": batch_idx, "loss": loss.item(), "batch": _plain(batch)}
            for (batch_idx, batch), loss in zip(self._batches, self._losses, strict=True)
        ]
        try:
            with atomic_path(path) as temporary:
                torch.save({**entry, "micro_batches": micro_batches}, temporary)
        except (OSError, RuntimeError, UserError) as error:
            # A full disk must not end a training.
            warnings.warn(f"the batch of the skipped step {entry['step']} was not saved: {error}", stacklevel=2)

    def _end(self, run: Path, first: int) -> str:
        saved = sorted(_path(run, first, 0).parent.glob(f"step-{first}-rank*.pt"))
        batch = f", whose batch is {saved[0]}" if saved else ""
        last = run / "checkpoints" / "last.ckpt"
        good = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
        return (
            f"training diverged: no finite gradient in {self.in_a_row} steps in a row, from step {first}{batch}; "
            f"{good}; lower model.init_args.optimiser.learning_rate or set trainer.gradient_clip_val, and start the "
            "same command again"
        )

    def _forget(self) -> None:
        self._batches, self._losses = [], []


def _path(run: Path, step: int, rank: int) -> Path:
    return run / "divergence" / f"step-{step}-rank{rank}.pt"


def _plain(value: Any) -> Any:
    """A batch as tensors on the CPU and plain values, which weights_only loads."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
