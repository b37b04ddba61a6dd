"""Averaged weights: what validates, what is saved, when they are updated."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch import Tensor

from mstv import checkpoint
from mstv.callbacks.ema import EMA
from mstv.errors import UserError
from tests.tiny_training import Recorder, Tiny, TinyData, settings, trainer

pytestmark = pytest.mark.filterwarnings("ignore")


def average(history: list[Tensor], decay: float) -> Tensor:
    """Of the weights after each step, by the definition."""
    result = history[0].double()
    for n, weights in enumerate(history[1:], 1):
        kept = min(decay, (1 + n) / (10 + n))
        result = kept * result + (1 - kept) * weights.double()
    return result


class Watch(Recorder):
    """Weights seen by validation, and a checkpoint at step 6."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.validated: list[Tensor] = []

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, *rest: Any) -> None:
        self.validated.append(pl_module.weights)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *rest: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *rest)
        if trainer.global_step == 6:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_averages_validate_and_are_saved(tmp_path: Path, accumulate: int) -> None:
    module, ema, watch = Tiny(settings()), EMA(0.6), Watch(tmp_path / "six.ckpt")
    options = {"accumulate_grad_batches": accumulate, "val_check_interval": 4 * accumulate, "limit_val_batches": 1}
    fitted = trainer(tmp_path, 8, ema, watch, check_val_every_n_epoch=None, **options)
    fitted.fit(module, TinyData(8 * accumulate))
    history = watch.weights[accumulate - 1 :: accumulate]
    assert len(history) == 8 and len(watch.validated) == 2
    for step, seen in zip((4, 8), watch.validated, strict=True):
        assert torch.allclose(seen.double(), average(history[:step], 0.6), atol=1e-6)
        assert not torch.allclose(seen, history[step - 1], atol=1e-4)
    # The training goes on with its own weights, and leaves the averaged ones.
    assert torch.allclose(module.weights.double(), average(history, 0.6), atol=1e-6)

    saved = torch.load(tmp_path / "six.ckpt", weights_only=True)
    flat = {
        name: torch.cat([value.flatten() for value in saved[name].values()])
        for name in ("state_dict", "current_model_state")
    }
    assert torch.equal(flat["current_model_state"], history[5])
    assert torch.allclose(flat["state_dict"].double(), average(history[:6], 0.6), atol=1e-6)
    assert checkpoint.read_checkpoint(tmp_path / "six.ckpt", "tiny").config == module.config
    # Who only looks at a checkpoint gets the averages.
    looked = Tiny(settings())
    watch.validated.clear()
    trainer(tmp_path, 8, EMA(0.6), watch, limit_val_batches=1).validate(
        looked, datamodule=TinyData(8), ckpt_path=str(tmp_path / "six.ckpt")
    )
    assert torch.equal(watch.validated[0], flat["state_dict"])


def test_a_resumed_average_is_the_uninterrupted_one(tmp_path: Path) -> None:
    module, ema = Tiny(settings()), EMA(0.9)
    trainer(tmp_path, 10, ema, Watch(tmp_path / "six.ckpt")).fit(module, TinyData(4))
    other, other_ema = Tiny(settings()), EMA(0.9)
    trainer(tmp_path, 10, other_ema).fit(
        other, datamodule=TinyData(4), ckpt_path=tmp_path / "six.ckpt", weights_only=True
    )
    assert torch.equal(module.weights, other.weights) and ema._updates == other_ema._updates == 10


def test_a_checkpoint_without_averages_begins_them(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "six.ckpt")
    trainer(tmp_path, 6, watch).fit(Tiny(settings()), TinyData(4))
    module, ema = Tiny(settings()), EMA(0.0)
    recorder = Recorder()
    trainer(tmp_path, 8, ema, recorder).fit(
        module, datamodule=TinyData(4), ckpt_path=tmp_path / "six.ckpt", weights_only=True
    )
    assert torch.equal(module.weights, recorder.weights[-1]) and ema._updates == 2


def test_a_rollout_within_training_sees_the_averages(tmp_path: Path) -> None:
    class Rolls(Recorder):
        """As LongRollout does."""

        def __init__(self, ema: EMA) -> None:
            super().__init__()
            self.ema = ema
            self.seen: list[Tensor] = []

        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *rest: Any) -> None:
            super().on_train_batch_end(trainer, pl_module, *rest)
            with self.ema.applied(pl_module):
                self.seen.append(pl_module.weights)
            assert torch.equal(pl_module.weights, self.weights[-1])

    ema = EMA(0.6)
    rolls = Rolls(ema)
    trainer(tmp_path, 5, ema, rolls).fit(Tiny(settings()), TinyData(5))
    for step, seen in enumerate(rolls.seen, 1):
        assert torch.allclose(seen.double(), average(rolls.weights[:step], 0.6), atol=1e-6)


def test_without_memory_nothing_is_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs out within a rollout must leave the training as it was."""

    def full(*_: Any, **__: Any) -> Tensor:
        raise torch.OutOfMemoryError

    ema, module = EMA(0.6), Tiny(settings())
    trainer(tmp_path, 3, ema).fit(module, TinyData(3))
    for average in ema._averages:
        average.zero_()
    before = [weight.detach().clone() for weight in module.parameters()]
    with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setattr(torch, "empty", full)
        with ema.applied(module):
            raise AssertionError
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), before, strict=True))
    with ema.applied(module):
        assert all(weight.abs().max() == 0 for weight in module.parameters())
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), before, strict=True))


def test_nonsense_is_refused() -> None:
    for decay in (-0.1, 1.0, float("nan")):
        with pytest.raises(UserError, match="decay"):
            EMA(decay)
