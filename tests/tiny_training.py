"""The smallest training with all that a TrainedModule does: a net, batches that may hold NaN, a trainer."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor, nn

from mstv.callbacks.metrics_csv import MetricsCSV
from mstv.data.loader import ResumableDataModule
from mstv.optimiser import Optimiser
from mstv.trained_module import TrainedModule

WIDTH = 6


@dataclass
class TinyBatch:
    """B inputs (B, WIDTH), with names."""

    x: Tensor
    index: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Batches:
    """A stream: sample n of rank r is a function of (n, r), and batch i holds samples B i to B (i + 1)."""

    num_batches: int
    size: int = 4
    poisoned: tuple[int, ...] = ()
    rank: int = 0

    def batches(self, epoch: int, start: int, num_workers: int) -> Iterator[TinyBatch]:
        return (self.batch(index) for index in range(start, self.num_batches, num_workers))

    def batch(self, index: int) -> TinyBatch:
        numbers = range(index * self.size, (index + 1) * self.size)
        seeds = [10_000 * self.rank + number for number in numbers]
        x = torch.stack([torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        if index in self.poisoned:
            x[0, 0] = float("nan")
        return TinyBatch(x, index, tuple(f"episode-{number}" for number in numbers))


class TinyData(ResumableDataModule):
    """Trains on a stream, validates on one batch.

    Args:
        poisoned_rank: the rank whose batches are poisoned.
    """

    def __init__(self, num_batches: int, size: int = 4, poisoned: tuple[int, ...] = (), poisoned_rank: int = 0) -> None:
        super().__init__(batch_size=size, num_workers=0, seed=0)
        self.stream = Batches(num_batches, size, poisoned)
        self.poisoned_rank = poisoned_rank

    def training_stream(self, rank: int, world_size: int) -> Batches:
        return replace(self.stream, rank=rank, poisoned=self.stream.poisoned if rank == self.poisoned_rank else ())

    def check_layout(self, before: Any, now: Any) -> None:
        pass

    def validation_stream(self, rank: int, world_size: int) -> Batches:
        return Batches(1, self.stream.size)


class Tiny(TrainedModule):
    """Two layers that learn a fixed function."""

    kind = "tiny"
    monitor = ("validation/loss", "min")

    def __init__(self, optimiser: Optimiser) -> None:
        super().__init__(optimiser, 0)
        self.config = {"width": WIDTH}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, WIDTH))

    def compile_blocks(self) -> None:
        pass

    def num_samples(self, batch: TinyBatch) -> int:
        return len(batch.x)

    def num_tokens(self, batch: TinyBatch) -> int:
        return len(batch.x)

    def training_flops(self, batch: TinyBatch) -> int:
        return 1

    def loss(self, batch: TinyBatch) -> Tensor:
        return (self.net(batch.x) - batch.x.roll(1, 1)).square().mean()

    def training_step(self, batch: TinyBatch, batch_idx: int) -> dict[str, Any]:
        return {"loss": self.loss(batch)}

    def validation_step(self, batch: TinyBatch, batch_idx: int) -> None:
        self.log("validation/loss", self.loss(batch), batch_size=1, sync_dist=True)

    @property
    def weights(self) -> Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters()])


class Recorder(Callback):
    """What there is at the end of every batch."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []
        self.gradients: list[Tensor | None] = []
        self.norms: list[float] = []
        self.skipped: list[float] = []
        self.rates: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.weights.append(pl_module.weights)
        gradients = [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
        self.gradients.append(torch.cat(gradients) if gradients else None)
        metrics = trainer.callback_metrics
        self.norms.append(float(metrics.get("train/gradient_norm", torch.nan)))
        self.skipped.append(float(metrics.get("train/skipped_steps", torch.nan)))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def settings(**options: Any) -> Optimiser:
    return Optimiser(**{"learning_rate": 1e-2, "warmup_steps": 2, **options})


def trainer(run: Path, steps: int, *callbacks: Callback, **options: Any) -> Trainer:
    return Trainer(
        **{
            "accelerator": "cpu",
            "devices": 1,
            "max_steps": steps,
            "max_epochs": -1,
            "log_every_n_steps": 1,
            "logger": MetricsCSV(run),
            "default_root_dir": run,
            "callbacks": list(callbacks),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "num_sanity_val_steps": 0,
            "limit_val_batches": 0,
            **options,
        }
    )


def rows(run: Path) -> Iterator[dict[str, str]]:
    """Rows of metrics.csv."""
    with (run / "metrics.csv").open(newline="") as file:
        yield from csv.DictReader(file)
