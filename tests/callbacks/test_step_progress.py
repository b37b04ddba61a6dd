"""The bar shows what is logged, and neither it nor the logs make a step wait for the device."""

from collections import Counter
from typing import Any

import pytest
import torch
from lightning import Trainer

from mstv.callbacks import step_progress
from mstv.callbacks.step_progress import StepProgress
from mstv.callbacks.throughput import Throughput
from mstv.callbacks.training_log import TrainingLog
from mstv.data.loader import ResumableLoader, StreamLoader
from mstv.progress import Bar
from tests.callbacks.test_throughput import BATCH, STEP, TOKENS, WAIT, Batches, Slow
from tests.callbacks.test_throughput import measured as measured
from tests.callbacks.test_training_log import Noted

STEPS = 12


class Module(Slow):
    def training_step(self, batch: torch.Tensor, batch_idx: int) -> dict[str, Any]:
        loss = super().training_step(batch, batch_idx)
        self.log("train/gradient_norm", loss.detach())
        return {"loss": loss, "losses": loss.detach().repeat(len(batch)), "t": torch.zeros(len(batch))}

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("validation/loss", torch.tensor(0.25), prog_bar=True)


def train(monkeypatch: pytest.MonkeyPatch, every: int, **settings: Any) -> list[str]:
    """Train with all three; returns the bar's remarks, one for each time it was moved."""
    log, throughput, remarks = TrainingLog(), Throughput(), []
    move = StepProgress._move

    def noted(self: StepProgress, trainer: Trainer) -> None:
        move(self, trainer)
        remarks.append(self._bar.remark)

    monkeypatch.setattr(StepProgress, "_move", noted)
    trainer = Trainer(
        accelerator="cpu",
        logger=Noted(),
        log_every_n_steps=every,
        callbacks=[log, throughput, StepProgress(log, throughput)],
        max_steps=STEPS,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(Module(), ResumableLoader(Batches()), StreamLoader(Batches()))
    return remarks


def test_it_shows_loss_rates_and_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_progress, "EVERY_SECONDS", 0.0)
    remarks = train(monkeypatch, 4, val_check_interval=6, limit_val_batches=1)
    assert len(remarks) == STEPS + 2
    assert remarks[:3] == ["", "", ""]
    loss, samples, tokens = remarks[3].split(", ")
    rate = BATCH / (STEP + WAIT)
    assert loss.startswith("loss ") and samples == f"{rate:.0f} samples/s"
    assert tokens == f"{rate * TOKENS / 1000:.2f}k tokens/s"
    assert remarks[-1].endswith(", validation/loss 0.25")


def test_it_moves_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_progress, "EVERY_SECONDS", 1000.0)
    # The first step, and the last.
    assert len(train(monkeypatch, 1, limit_val_batches=0)) == 2


def test_only_logging_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a value from a tensor waits for all that the device was told to do before."""
    monkeypatch.setattr(step_progress, "EVERY_SECONDS", 0.0)
    read: Counter[str] = Counter()
    for name in ("item", "cpu", "tolist", "numpy", "__float__", "__bool__", "__int__"):
        original = getattr(torch.Tensor, name)

        def counted(self: torch.Tensor, *rest: Any, name: str = name, original: Any = original, **more: Any) -> Any:
            read[name] += 1
            return original(self, *rest, **more)

        monkeypatch.setattr(torch.Tensor, name, counted)
    before: list[Counter[str]] = []
    update = Bar.update
    monkeypatch.setattr(Bar, "update", lambda *rest, **more: (before.append(read.copy()), update(*rest, **more)))
    train(monkeypatch, STEPS, limit_val_batches=0)
    assert len(before) == STEPS
    assert before[-2] == before[0], before[-2]
    assert before[-1]["cpu"] == before[-2]["cpu"] + 1


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.5, "0.50"), (12.34, "12.3"), (999.0, "999"), (1234.0, "1.23k"), (4.1e6, "4.10M"), (2e9, "2.00G")],
)
def test_numbers_are_short(number: float, text: str) -> None:
    assert step_progress._short(number) == text
