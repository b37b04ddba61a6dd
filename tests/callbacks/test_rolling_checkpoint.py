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
        if path.name != "last.ckpt":
            return
        step = torch.load(path, weights_only=True)["global_step"]
        with (tmp_path / "metrics.csv").open(newline="") as file:
            logged = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
        assert logged == list(range(step))
        seen.append(step)

    monkeypatch.setattr(rolling_checkpoint.os, "replace", replace)
    fit(tmp_path, Line())
    assert seen == list(range(1, 10))


def fit(folder: Path, module: Line, every_seconds: float = 0.0) -> None:
    (folder / "checkpoints").mkdir(exist_ok=True)
    last = folder / "checkpoints" / "last.ckpt"
    trainer = Trainer(
        max_steps=9 if not last.exists() else 13,
        log_every_n_steps=1,
        val_check_interval=3,
        logger=MetricsCSV(folder),
        callbacks=[RollingCheckpoint(folder / "checkpoints", every_seconds, num_older=2)],
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    data = torch.randn(20, 1)
    trainer.fit(module, DataLoader(data, 2), DataLoader(data, 4), ckpt_path=last if last.exists() else None)


def step_of(folder: Path, name: str) -> int:
    return torch.load(folder / "checkpoints" / name, weights_only=True)["global_step"]


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "checkpoints").iterdir()}


class Scored(Line):
    """Its validations have the values given, one after another."""

    def __init__(self, values: list[float], mode: str) -> None:
        super().__init__()
        self.monitor = ("validation/score", mode)
        self.values = iter(values)

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.log("validation/score", next(self.values))


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
@pytest.mark.parametrize(
    ("mode", "values", "best", "later", "best_later"),
    [
        ("max", [1.0, 3.0, 2.0], 6, 2.5, 6),
        ("max", [1.0, 3.0, 2.0], 6, 3.5, 13),
        ("min", [1.0, float("nan"), 2.0], 3, 1.5, 3),
        ("min", [float("nan"), 2.0, 1.0], 9, 0.5, 13),
    ],
)
def test_the_best_value_survives_a_resume(
    tmp_path: Path, mode: str, values: list[float], best: int, later: float, best_later: int
) -> None:
    # Only validations that improve, and the last step, make checkpoints.
    fit(tmp_path, Scored(values, mode), every_seconds=1000.0)
    assert step_of(tmp_path, "best.ckpt") == best
    fit(tmp_path, Scored([later], mode), every_seconds=1000.0)
    assert step_of(tmp_path, "best.ckpt") == best_later and step_of(tmp_path, "last.ckpt") == 13


def test_the_newest_are_kept_under_their_steps(tmp_path: Path) -> None:
    fit(tmp_path, Line())
    assert names(tmp_path) == {"last.ckpt", "step-9.ckpt", "step-8.ckpt", "step-7.ckpt"}
    assert (tmp_path / "checkpoints" / "last.ckpt").samefile(tmp_path / "checkpoints" / "step-9.ckpt")
    assert [step_of(tmp_path, f"step-{step}.ckpt") for step in (7, 8, 9)] == [7, 8, 9]


def test_a_diverging_module_is_not_saved(tmp_path: Path) -> None:
    class Diverging(Line):
        @property
        def diverging(self) -> bool:
            return self.trainer.global_step > 4

    fit(tmp_path, Diverging())
    assert step_of(tmp_path, "last.ckpt") == 4


def test_without_hard_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(rolling_checkpoint.os, "link", link)
    fit(tmp_path, Line())
    assert [step_of(tmp_path, name) for name in ("last.ckpt", "step-9.ckpt", "step-8.ckpt")] == [9, 9, 8]
