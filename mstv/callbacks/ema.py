"""Exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning import LightningModule
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class EMA(WeightAveraging):
    """Averaged weights that validate, roll out and are what a checkpoint's `state_dict` holds.

    The decay of update n is min(decay, (1 + n) / (10 + n)): a short training is not held back by its initial weights.

    Args:
        decay: limit of the decay per training step.
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        # Our buffers are constants.
        super().__init__(use_buffers=False, multi_avg_fn=self._update)

    @torch.no_grad()
    def _update(self, averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor | int) -> None:
        n = int(num_averaged)
        decay = min(self.decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    @contextmanager
    def applied(self, module: LightningModule) -> Iterator[None]:
        """The averaged weights in place of the module's own."""
        self._swap_models(module)
        try:
            yield
        finally:
            self._swap_models(module)
