"""What a training logs of its losses: how large they are, at which level and at which noise."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from mstv.callbacks.all_ranks import gather
from mstv.data.schema import MAX_LEVELS

NUM_BINS = 10
"""Equal parts of the noise time [0, 1], named after their middle: `train/loss_t0.05` is t in [0, 0.1)."""
LEVEL, NOISE = 3, 3 + MAX_LEVELS
ENTRIES = (
    *("loss", "reconstruction_loss", "lpips"),
    *(f"loss_level{level}" for level in range(MAX_LEVELS)),
    *(f"loss_t{(part + 0.5) / NUM_BINS:.2f}" for part in range(NUM_BINS)),
)
FIELD = "training_log"
"""Where the sums stand in a checkpoint."""


class TrainingLog(Callback):
    """Logs means over the last `log_every_n_steps` steps, all their micro-batches and all ranks, as `train/...`.

    `loss` is what is minimised. `loss_level{l}` and `loss_t{bin}` tell which level and which noise is learning: of the
    diffusion, by level of the targets and by their time; of the tokenizer, by the level that an image was decoded from.
    `learning_rate` is that of the last step.

    What a `training_step` returns is kept where it is and looked at only when it is logged or saved, so that no other
    step waits for the device. A checkpoint holds the sums of every rank: a resumed run logs the same numbers, bit by
    bit, as one that was not killed. With another number of ranks, which is another run, the means are still right.
    """

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}
        """What was logged last, by name without `train/`."""
        self._pending: list[dict[str, Any]] = []
        self._sums = np.zeros((2, len(ENTRIES)))
        self._learning_rate = 0.0
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know a step when it is done."""
        self._step = trainer.global_step

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Note the learning rate, which all parameters have in common, before the schedule moves on."""
        self._learning_rate = float(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep what the step returned; log when it is time."""
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if outputs and every:
            # Lightning divides the loss by the number of micro-batches.
            self._pending.append({**outputs, "loss": outputs["loss"] * trainer.accumulate_grad_batches})
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if not every or not stepped or self._step % every:
            return
        self._count()
        sums, counts = gather(trainer, torch.from_numpy(self._sums.reshape(-1))).sum(0).view(2, -1).tolist()
        self._sums = np.zeros_like(self._sums)
        means = {name: total / count for name, total, count in zip(ENTRIES, sums, counts, strict=True) if count}
        self.latest = {**means, "learning_rate": self._learning_rate}
        for logger in trainer.loggers:
            logger.log_metrics({f"train/{name}": value for name, value in self.latest.items()}, step=self._step - 1)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the sums of every rank."""
        self._count()
        checkpoint[FIELD] = gather(trainer, torch.from_numpy(self._sums.reshape(-1)))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with this rank's sums; the first rank takes all where the number of ranks has changed."""
        rows = checkpoint.get(FIELD)
        if rows is not None:
            if len(rows) != trainer.world_size:
                rows = torch.cat([rows.sum(0, keepdim=True), rows.new_zeros(trainer.world_size - 1, rows.shape[1])])
            self._sums = rows[trainer.global_rank].numpy().reshape(self._sums.shape).copy()

    def _count(self) -> None:
        """Add the pending batches to the sums, one by one: so their order does not depend on when this is called."""
        if not self._pending:
            return
        tensors = [value for outputs in self._pending for value in outputs.values() if isinstance(value, Tensor)]
        # One transfer for all of them.
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors]).cpu().double().numpy()
        parts = iter(np.split(flat, np.cumsum([tensor.numel() for tensor in tensors])[:-1]))
        for outputs in self._pending:
            numbers = {name: next(parts) for name, value in outputs.items() if isinstance(value, Tensor)}
            self._add(numbers, outputs.get("levels", ()))
        self._pending = []

    def _add(self, outputs: dict[str, np.ndarray], levels: tuple[int, ...]) -> None:
        """Add one batch."""
        losses = outputs["losses"]
        self._put("loss", outputs["loss"].mean() * len(losses), len(losses))
        if "lpips" in outputs:
            self._put("lpips", outputs["lpips"].mean() * len(losses), len(losses))
            self._put("reconstruction_loss", losses.sum(), len(losses))
        if "kept" in outputs:
            self._sort(LEVEL, outputs["kept"], losses)
        if levels:
            for level, column in zip(levels, outputs["level_losses"].reshape(len(losses), -1).T, strict=True):
                self._put(f"loss_level{level}", column.sum(), len(column))
        if "t" in outputs:
            self._sort(NOISE, np.minimum(outputs["t"] * NUM_BINS, NUM_BINS - 1), losses)

    def _put(self, name: str, total: float, count: int) -> None:
        self._sums[:, ENTRIES.index(name)] += (total, count)

    def _sort(self, first: int, places: np.ndarray, losses: np.ndarray) -> None:
        """Add each loss to the entry `first` + its place, rounded down."""
        places = places.astype(int) + first
        self._sums[0] += np.bincount(places, losses, len(ENTRIES))
        self._sums[1] += np.bincount(places, minlength=len(ENTRIES))
