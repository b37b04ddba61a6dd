"""Means of the training's losses: by level, by noise, over micro-batches, ranks and kills."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor
from torch.utils.data import DataLoader

from mstv.callbacks.metrics_csv import MetricsCSV
from mstv.callbacks.training_log import TrainingLog

BATCH = 4


class Noted(Logger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, dict[str, float]] = {}

    name = version = "noted"

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.setdefault(step, {}).update(metrics)


class Diffusion(LightningModule):
    """Returns what the diffusion module does: odd batches have targets at levels 0 and 2, even ones at level 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch: Tensor, batch_idx: int) -> dict[str, Any]:
        t, losses = batch[:, 0], batch[:, 1]
        levels = (0, 2) if batch[0, 2] else (1,)
        level_losses = torch.stack([losses + level for level in levels], 1)
        return {
            "loss": losses.mean() * self.weight,
            "losses": losses,
            "t": t,
            "levels": levels,
            "level_losses": level_losses,
        }

    def num_samples(self, batch: Tensor) -> int:
        return len(batch)

    def num_tokens(self, batch: Tensor) -> int:
        return 10 * len(batch)

    def training_flops(self, batch: Tensor) -> int:
        return 1000

    def configure_optimizers(self) -> dict[str, Any]:
        optimiser = torch.optim.SGD([self.weight], 1.0)
        # The weight stays 1: the learning rate is only looked at.
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1e-9 * (step + 1))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Tokenizer(Diffusion):
    def training_step(self, batch: Tensor, batch_idx: int) -> dict[str, Any]:
        losses, lpips = batch[:, 1], batch[:, 0].mean()
        loss = (losses.mean() + 0.5 * lpips) * self.weight
        return {"loss": loss, "losses": losses, "kept": torch.arange(len(batch)) % 2, "lpips": lpips}


def numbers(batches: int) -> Tensor:
    """(batches, BATCH, 3): t, loss, whether the batch is an odd one."""
    values = torch.rand(batches, BATCH, 3, generator=torch.Generator().manual_seed(0))
    values[:, :, 2] = (torch.arange(batches) % 2)[:, None]
    return values


def trained(module: LightningModule, data: Tensor, every: int, **settings: Any) -> dict[int, dict[str, float]]:
    logger = Noted()
    trainer = Trainer(
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=every,
        callbacks=[TrainingLog()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(module, DataLoader(data.flatten(0, 1), BATCH))
    return logger.rows


def test_means_over_the_interval_by_level_and_noise() -> None:
    data = numbers(8)
    rows = trained(Diffusion(), data, 4, max_epochs=1)
    assert list(rows) == [3, 7]
    for step, part in zip(rows, data.split(4), strict=True):
        row, t, losses = rows[step], part[..., 0].reshape(-1), part[..., 1].reshape(-1)
        assert row["train/loss"] == pytest.approx(float(losses.mean()))
        assert row["train/loss_level1"] == pytest.approx(float(part[0::2, :, 1].mean() + 1))
        assert row["train/loss_level0"] == pytest.approx(float(part[1::2, :, 1].mean()))
        assert row["train/loss_level2"] == pytest.approx(float(part[1::2, :, 1].mean() + 2))
        for index in range(10):
            inside = (t >= index / 10) & (t < (index + 1) / 10)
            name = f"train/loss_t{index / 10 + 0.05:.2f}"
            assert (name in row) == bool(inside.any())
            if inside.any():
                assert row[name] == pytest.approx(float(losses[inside].mean()))
        assert row["train/learning_rate"] == pytest.approx(1e-9 * (step + 1))
        assert not [name for name in row if "lpips" in name or "level3" in name]


def test_a_time_of_one_is_in_the_last_part() -> None:
    data = numbers(1)
    data[0, :, 0] = torch.tensor([0.0, 0.95, 1.0, 1.0])
    (row,) = trained(Diffusion(), data, 1, max_epochs=1).values()
    assert row["train/loss_t0.95"] == pytest.approx(float(data[0, 1:, 1].mean()))


def test_tokenizer_by_kept_level() -> None:
    data = numbers(4)
    (row,) = trained(Tokenizer(), data, 4, max_epochs=1).values()
    assert row["train/loss_level0"] == pytest.approx(float(data[:, 0::2, 1].mean()))
    assert row["train/loss_level1"] == pytest.approx(float(data[:, 1::2, 1].mean()))
    assert row["train/lpips"] == pytest.approx(float(data[..., 0].mean()))
    assert row["train/reconstruction_loss"] == pytest.approx(float(data[..., 1].mean()))
    assert row["train/loss"] == pytest.approx(float(data[..., 1].mean() + 0.5 * data[..., 0].mean()))


def test_accumulation_logs_each_step_once_over_all_micro_batches() -> None:
    data = numbers(12)
    rows = trained(Diffusion(), data, 2, max_epochs=1, accumulate_grad_batches=3)
    # 12 micro-batches are 4 steps.
    assert list(rows) == [1, 3]
    for row, part in zip(rows.values(), data.split(6), strict=True):
        assert row["train/loss"] == pytest.approx(float(part[..., 1].mean()))
        assert row["train/loss_level1"] == pytest.approx(float(part[0::2, :, 1].mean() + 1))


def test_an_interval_of_zero_logs_nothing() -> None:
    assert trained(Diffusion(), numbers(4), 0, max_epochs=1) == {}


class Killed(Exception):
    pass


class Rest:
    """The batches of an epoch from one on, as a loader that resumes gives them."""

    def __init__(self, data: Tensor, start: int) -> None:
        self.data, self.start = data, start

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.data[self.start :])

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        pass


def test_a_resumed_run_logs_the_same_numbers(tmp_path: Path) -> None:
    """Killed inside an interval; bit by bit, and batches are summed in the same order."""
    data = numbers(30)

    def run(folder: Path, killed_at: int | None = None) -> list[dict[str, str]]:
        folder.mkdir(exist_ok=True)
        checkpoint, module = folder / "last.ckpt", Diffusion()

        class Kill(Callback):
            def on_train_batch_end(self, trainer: Trainer, *rest: Any) -> None:
                if trainer.global_step == killed_at:
                    trainer.save_checkpoint(checkpoint)
                if killed_at is not None and trainer.global_step == killed_at + 2:
                    raise Killed

        resume = checkpoint if checkpoint.exists() else None
        start = torch.load(resume, weights_only=True)["global_step"] if resume else 0
        trainer = Trainer(
            accelerator="cpu",
            logger=MetricsCSV(folder),
            log_every_n_steps=10,
            callbacks=[TrainingLog(), Kill()],
            max_steps=30,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(module, Rest(data, start), ckpt_path=resume, weights_only=True)
        except Killed:
            return []
        with (folder / "metrics.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    whole = run(tmp_path / "whole")
    assert [row["step"] for row in whole] == ["9", "19", "29"]
    assert run(tmp_path / "killed", killed_at=13) == []
    assert run(tmp_path / "killed") == whole


RANKS = """
import json, sys
from pathlib import Path
from lightning import Trainer
from mstv.callbacks.metrics_csv import MetricsCSV
from mstv.callbacks.throughput import Throughput
from mstv.callbacks.training_log import TrainingLog
from mstv.data.loader import ResumableLoader
from tests.callbacks.test_training_log import Diffusion, numbers

folder = Path(sys.argv[1])
trainer = Trainer(
    accelerator="cpu", devices=2, strategy="ddp", log_every_n_steps=2, callbacks=[TrainingLog(), Throughput()],
    max_steps=3, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
)
trainer.loggers = [MetricsCSV(folder / str(trainer.global_rank))]

class Stream:
    num_batches = 4

    def batches(self, epoch, start, num_workers):
        # The kind of a batch is the same on all ranks.
        for batch in range(start, 4):
            yield numbers(8)[[[0, 1, 4, 5], [2, 3, 6, 7]][trainer.global_rank][batch]]

trainer.fit(Diffusion(), ResumableLoader(Stream()))
trainer.save_checkpoint(folder / "ranks.ckpt")
"""


@pytest.mark.slow
def test_two_ranks_log_what_one_process_would(tmp_path: Path) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--master-port", "29617", str(script), str(tmp_path)], check=True, env=environment)
    data = numbers(8)
    assert not (tmp_path / "1").exists()
    with (tmp_path / "0" / "metrics.csv").open(newline="") as file:
        (row,) = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert row["step"] == 1
    assert row["train/loss"] == pytest.approx(float(data[:4, :, 1].mean()))
    assert row["train/loss_level1"] == pytest.approx(float(data[[0, 2], :, 1].mean() + 1))
    # One step of two is timed, of both ranks' samples; the peak is the sum of theirs, so it cannot be told here.
    assert row["throughput/samples_per_second"] * row["throughput/step_seconds"] == pytest.approx(2 * BATCH)
    assert row["throughput/tokens_per_second"] * row["throughput/step_seconds"] == pytest.approx(20 * BATCH)
    assert 0 < row["throughput/flops_utilisation"] < 1 and 0 <= row["throughput/data_wait_share"] < 1
    # The third step's sums of both ranks stand in the file of the first.
    rows = torch.load(tmp_path / "ranks.ckpt", weights_only=True)["training_log"].view(2, 2, -1)
    assert rows[:, 1, 0].tolist() == [BATCH, BATCH]
    assert rows[:, 0, 0].tolist() == pytest.approx([float(data[4, :, 1].sum()), float(data[6, :, 1].sum())])
