"""Exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from mstv.errors import UserError
from mstv.sharding import local


class EMA(Callback):
    """Averaged weights that validate, roll out, are saved as a checkpoint's `state_dict`, and are left after training.

    The decay of update n is min(decay, (1 + n) / (10 + n)), and 0 of the first: a short training is not held back by
    its initial weights. There is one update an optimiser step, and none for a step that the module skipped.

    Not Lightning's WeightAveraging: that one copies the whole module before a strategy shards it, and reads its count
    of updates from the device, which makes every step wait.

    Args:
        decay: limit of the decay per training step, in [0, 1).

    Raises:
        UserError: another decay.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"EMA: decay must lie in [0, 1), got {decay}")
        self.decay = decay
        self._averages: list[Tensor] = []
        self._trained: list[Tensor] = []
        self._updates = 0
        self._step = 0
        self._swapped = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier training."""
        self._averages, self._updates, self._swapped = [], 0, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the weights, which are where the strategy wants them now."""
        # Kept, because to walk through all modules takes longer than the update.
        self._trained = _weights(pl_module)
        self._averages = [
            average.to(weight.device)
            for average, weight in zip(self._averages or _copies(self._trained), self._trained, strict=True)
        ]
        self._step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update, if this batch ended a step."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if getattr(pl_module, "diverging", False):
            return
        n = self._updates
        decay = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        torch._foreach_lerp_(local(self._averages), local(self._trained), 1 - decay)
        self._updates += 1

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the averaged weights."""
        self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train the others."""
        self._swap(pl_module)

    @torch.no_grad()
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the averaged weights in the module."""
        for weight, average in zip(_weights(pl_module), self._averages, strict=True):
            weight.copy_(average)

    @contextmanager
    def applied(self, module: LightningModule) -> Iterator[None]:
        """The averaged weights in place of the module's own."""
        self._swap(module)
        try:
            yield
        finally:
            self._swap(module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the averaged weights into `state_dict` and the module's own into `current_model_state`."""
        if not self._averages:
            return
        assert not self._swapped, "a checkpoint is taken between validations"
        checkpoint["current_model_state"] = checkpoint["state_dict"]
        with self.applied(pl_module):
            # As the strategy gives it, which for sharded weights gathers them.
            averaged = trainer.strategy.lightning_module_state_dict()
            checkpoint["state_dict"] = {name: value.clone() for name, value in averaged.items()}
        checkpoint["averaging_state"] = {"n_averaged": self._updates}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with both, if training goes on; whatever else loads a checkpoint gets the averaged weights."""
        if trainer.state.fn != TrainerFn.FITTING or "current_model_state" not in checkpoint:
            return
        # Lightning has loaded `state_dict` by now.
        self._averages = _copies(_weights(pl_module))
        self._updates = int(checkpoint["averaging_state"]["n_averaged"])
        set_model_state_dict(
            pl_module, checkpoint["current_model_state"], options=StateDictOptions(full_state_dict=True)
        )

    @torch.no_grad()
    def _swap(self, module: LightningModule) -> None:
        """Exchange values, not tensors: an optimiser, a strategy or a compiled graph may hold on to these."""
        if not self._averages:
            return
        weights, averages = local(_weights(module)), local(self._averages)
        # All memory that this takes: where there is none left, nothing is exchanged, rather than half of it.
        spare = torch.empty(max(weight.nbytes for weight in weights), dtype=torch.uint8, device=weights[0].device)
        for weight, average in zip(weights, averages, strict=True):
            kept = spare[: weight.nbytes].view(weight.dtype).view(weight.shape).copy_(weight)
            weight.copy_(average)
            average.copy_(kept)
        self._swapped = not self._swapped


def _weights(module: LightningModule) -> list[Tensor]:
    """What is averaged; all buffers of ours are constants."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _copies(weights: list[Tensor]) -> list[Tensor]:
    return [weight.detach().clone() for weight in weights]
