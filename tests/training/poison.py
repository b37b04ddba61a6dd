"""Spoils batches of a training."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Poison(Callback):
    """Puts a NaN into the tokens of some batches of one rank.

    Args:
        rank: whose batches.
        batches: their indices.
    """

    def __init__(self, rank: int, batches: list[int]) -> None:
        self.rank, self.batches = rank, batches

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_rank == self.rank and batch.index in self.batches:
            batch.tokens[0] = torch.nan
