"""Rates and shares of a training's time."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from mstv import device_peak
from mstv.callbacks import throughput
from mstv.callbacks.throughput import Throughput, outside_training
from mstv.data import loader
from mstv.data.loader import ResumableLoader, StreamLoader
from tests.callbacks.test_training_log import Noted

BATCH, TOKENS, FLOPS = 4, 10, 10**6
STEP, WAIT, VALIDATION = 0.02, 0.01, 0.1


class Clock:
    """Stands still but for `sleep`: the tests do not depend on the load of the machine."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


CLOCK = Clock()


class Slow(LightningModule):
    """Each batch takes `STEP` seconds to train."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def num_samples(self, batch: Tensor) -> int:
        return len(batch)

    def num_tokens(self, batch: Tensor) -> int:
        return len(batch) * TOKENS

    def training_flops(self, batch: Tensor) -> int:
        return len(batch) * FLOPS

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        CLOCK.sleep(STEP)
        return self.layer(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        CLOCK.sleep(VALIDATION)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Batches:
    """Each takes `WAIT` seconds to make."""

    num_batches = 12

    def batches(self, epoch: int, start: int, num_workers: int) -> Iterator[Tensor]:
        for _ in range(start, self.num_batches, num_workers):
            CLOCK.sleep(WAIT)
            yield torch.zeros(BATCH, 1)


class Pause(Callback):
    """Does something else after every third step."""

    def on_train_batch_end(self, trainer: Trainer, *rest: Any) -> None:
        if trainer.global_step % 3 == 0:
            with outside_training(trainer), outside_training(trainer):
                CLOCK.sleep(VALIDATION)


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time and peak are known."""
    monkeypatch.setattr(throughput, "time", CLOCK)
    monkeypatch.setattr(loader, "time", CLOCK)
    monkeypatch.setattr(device_peak, "_measure", lambda device, arithmetic, seconds: 1e9)


def trained(every: int, callbacks: list[Callback], **settings: Any) -> dict[int, dict[str, float]]:
    logger = Noted()
    trainer = Trainer(
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=every,
        callbacks=[*callbacks, Throughput()],
        max_epochs=1,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(Slow(), ResumableLoader(Batches()), StreamLoader(Batches()))
    return {
        step: {name.removeprefix("throughput/"): value for name, value in row.items()}
        for step, row in logger.rows.items()
        if "throughput/step_seconds" in row
    }


def test_rates_are_of_training_alone() -> None:
    rows = trained(6, [Pause()], val_check_interval=4, limit_val_batches=1)
    assert list(rows) == [5, 11]
    # The first counts steps 2 to 6. In each are two pauses and a validation, with a batch of its own.
    other = 3 * VALIDATION + WAIT
    for row, steps in zip(rows.values(), (5, 6), strict=True):
        assert row["step_seconds"] == pytest.approx(STEP + WAIT)
        assert row["samples_per_second"] == pytest.approx(BATCH / row["step_seconds"])
        assert row["tokens_per_second"] == pytest.approx(BATCH * TOKENS / row["step_seconds"])
        assert row["flops_utilisation"] == pytest.approx(BATCH * FLOPS / row["step_seconds"] / 1e9)
        assert row["data_wait_share"] == pytest.approx(WAIT / (STEP + WAIT))
        seconds = row["step_seconds"] * steps
        assert row["other_share"] == pytest.approx(other / (seconds + other))
        assert 0.05 < row["memory_gib"] < 64


def test_accumulation_counts_all_micro_batches() -> None:
    rows = trained(2, [], accumulate_grad_batches=3, limit_val_batches=0)
    # 12 micro-batches are 4 steps; the clock starts after the first.
    assert list(rows) == [1, 3]
    for row in rows.values():
        assert row["step_seconds"] == pytest.approx(3 * (STEP + WAIT))
        assert row["samples_per_second"] == pytest.approx(3 * BATCH / row["step_seconds"])
        assert row["tokens_per_second"] == pytest.approx(3 * BATCH * TOKENS / row["step_seconds"])
        assert row["other_share"] == 0


def test_an_interval_of_zero_logs_nothing() -> None:
    assert trained(0, [], limit_val_batches=0) == {}
