"""The rolling checkpoint and the log agree at whatever moment a training is killed."""

import csv
import os
from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from mstv.callbacks import rolling_checkpoint
from mstv.callbacks.metrics_csv import MetricsCSV
from mstv.callbacks.rolling_checkpoint import RollingCheckpoint


class Line(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("validation/loss", self.layer(batch).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_checkpoint_appears_when_its_steps_are_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def replace(temporary: Path, path: Path) -> None:
        """What a kill just after this call would leave."""
        os.rename(temporary, path)
        if path.suffix != ".ckpt":
            return
        step = torch.load(path, weights_only=True)["global_step"]
        with (tmp_path / "metrics.csv").open(newline="") as file:
            logged = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
        assert logged == list(range(step))
        seen.append(step)

    monkeypatch.setattr(rolling_checkpoint.os, "replace", replace)
    (tmp_path / "checkpoints").mkdir()
    trainer = Trainer(
        max_steps=9,
        log_every_n_steps=1,
        val_check_interval=3,
        logger=MetricsCSV(tmp_path),
        callbacks=[RollingCheckpoint(tmp_path / "checkpoints", 0.0)],
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    data = torch.randn(20, 1)
    trainer.fit(Line(), DataLoader(data, 2), DataLoader(data, 4))
    assert seen == list(range(1, 10))
