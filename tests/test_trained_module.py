"""Clipping, accumulation, skipped steps and resuming, by the real Trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor

from mstv.callbacks.ema import EMA
from mstv.errors import UserError
from mstv.optimiser import Optimiser
from tests.tiny_training import Batches, Recorder, Tiny, TinyData, rows, settings, trainer

pytestmark = pytest.mark.filterwarnings("ignore")


def fit(run: Path, steps: int, data: TinyData, module: Tiny | None = None, **options: Any) -> tuple[Tiny, Recorder]:
    recorder = Recorder()
    module = module or Tiny(settings())
    trainer(run, steps, recorder, **options).fit(module, data)
    return module, recorder


@pytest.mark.parametrize("kind", ["muon_adamw", "adamw"])
def test_a_training_learns(tmp_path: Path, kind: Any) -> None:
    module = Tiny(settings(kind=kind))
    before = module.loss(Batches(1, 64).batch(0)).item()
    fit(tmp_path, 80, TinyData(80), module)
    assert module.loss(Batches(1, 64).batch(0)).item() < 0.7 * before


def test_clipping_clips_and_the_log_holds_the_norm_before(tmp_path: Path) -> None:
    _, free = fit(tmp_path / "free", 3, TinyData(3))
    first = free.gradients[0]
    assert first is not None and free.norms[0] == pytest.approx(first.norm().item(), rel=1e-5)
    limit = 0.5 * free.norms[0]
    _, clipped = fit(tmp_path / "clipped", 3, TinyData(3), gradient_clip_val=limit)
    assert clipped.norms[0] == free.norms[0]
    for gradient in clipped.gradients:
        assert gradient is not None and gradient.norm() <= limit * (1 + 1e-5)
    assert torch.allclose(clipped.gradients[0] / clipped.gradients[0].norm(), first / first.norm(), atol=1e-5)  # type: ignore[operator,union-attr]
    logged = [float(row["train/gradient_norm"]) for row in rows(tmp_path / "clipped")]
    assert logged == pytest.approx(clipped.norms, rel=1e-6) and len(logged) == 3
    # A limit that is never reached changes nothing.
    _, loose = fit(tmp_path / "loose", 3, TinyData(3), gradient_clip_val=1e6)
    assert torch.equal(loose.weights[-1], free.weights[-1])


def test_clipping_by_value(tmp_path: Path) -> None:
    _, clipped = fit(tmp_path, 2, TinyData(2), gradient_clip_val=1e-3, gradient_clip_algorithm="value")
    for gradient in clipped.gradients:
        assert gradient is not None and gradient.abs().max() == pytest.approx(1e-3)


@pytest.mark.parametrize("kind", ["muon_adamw", "adamw"])
def test_accumulated_batches_are_one_batch(tmp_path: Path, kind: Any) -> None:
    module, joined = fit(tmp_path / "joined", 4, TinyData(4, size=8), Tiny(settings(kind=kind)), gradient_clip_val=0.1)
    other, parts = fit(
        *(tmp_path / "parts", 4, TinyData(8, size=4), Tiny(settings(kind=kind))),
        gradient_clip_val=0.1,
        accumulate_grad_batches=2,
    )
    assert len(parts.norms) == 8 and joined.norms == pytest.approx(parts.norms[1::2], rel=1e-5)
    for one, two in zip(joined.gradients, parts.gradients[1::2], strict=True):
        assert one is not None and two is not None and torch.allclose(one, two, rtol=1e-5, atol=1e-7)
    assert torch.allclose(module.weights, other.weights, rtol=1e-4, atol=1e-6)
    assert len(list(rows(tmp_path / "parts"))) == 4


def moments(module: Tiny) -> list[Tensor]:
    state = module.trainer.optimizers[0].state
    return [value.clone() for entry in state.values() for value in entry.values()]


class Moments(Recorder):
    """Moments and averages as well."""

    def __init__(self, ema: EMA) -> None:
        super().__init__()
        self.ema = ema
        self.others: list[list[Tensor]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *rest)
        self.others.append(moments(pl_module) + [average.clone() for average in self.ema._averages])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_poisoned_batch_is_skipped(tmp_path: Path, accumulate: int) -> None:
    ema, module = EMA(0.9), Tiny(settings())
    recorder = Moments(ema)
    options = {"accumulate_grad_batches": accumulate, "gradient_clip_val": 1.0}
    data = TinyData(8 * accumulate, poisoned=(3 * accumulate,))
    trainer(tmp_path, 8, ema, recorder, **options).fit(module, data)
    ends = slice(accumulate - 1, None, accumulate)
    weights, others, skipped = recorder.weights[ends], recorder.others[ends], recorder.skipped[ends]
    assert skipped == [0, 0, 0, 1, 1, 1, 1, 1]
    for step in range(1, 8):
        same = [torch.equal(a, b) for a, b in zip(others[step], others[step - 1], strict=True)]
        assert torch.equal(weights[step], weights[step - 1]) == (step == 3)
        assert all(same) if step == 3 else not any(same)
    # The micro-batch after a skipped step must not average the step a second time.
    assert ema._updates == 7
    assert weights[-1].isfinite().all() and not module.diverging
    assert [row["train/gradient_norm"] for row in rows(tmp_path)][3] == "nan"

    (path,) = (tmp_path / "divergence").iterdir()
    assert path.name == "step-3-rank0.pt"
    saved = torch.load(path, weights_only=True)
    assert saved["step"] == 3 and saved["rank"] == 0 and torch.tensor(saved["gradient_norm"]).isnan()
    assert len(saved["micro_batches"]) == accumulate
    first = saved["micro_batches"][0]
    expected = data.stream.batch(3 * accumulate)
    assert first["batch_idx"] == 3 * accumulate and torch.tensor(first["loss"]).isnan()
    assert torch.allclose(first["batch"]["x"], expected.x, rtol=0, atol=0, equal_nan=True)
    assert first["batch"]["index"] == expected.index and first["batch"]["keys"] == list(expected.keys)
    if accumulate == 2:
        good = saved["micro_batches"][1]
        torch.nn.utils.vector_to_parameters(weights[2], module.parameters())
        assert good["loss"] == pytest.approx(module.loss(data.stream.batch(7)).item())


def test_too_many_in_a_row_end_the_training(tmp_path: Path) -> None:
    module = Tiny(settings(max_skipped_steps=3))
    data = TinyData(20, poisoned=(4, *range(6, 20)))
    recorder = Recorder()
    with pytest.raises(UserError) as caught:
        trainer(tmp_path, 20, recorder).fit(module, data)
    message = str(caught.value)
    assert "3 steps in a row, from step 6" in message and str(tmp_path / "divergence" / "step-6-rank0.pt") in message
    assert "no checkpoint yet" in message and "learning_rate" in message and "\n" not in message
    assert module.diverging and len(recorder.weights) == 8
    # One file for each series.
    assert sorted(path.name for path in (tmp_path / "divergence").iterdir()) == ["step-4-rank0.pt", "step-6-rank0.pt"]
    assert torch.equal(recorder.weights[5], recorder.weights[7]) and torch.equal(recorder.weights[7], module.weights)


def test_saved_batches_are_few(tmp_path: Path) -> None:
    fit(tmp_path, 40, TinyData(40, poisoned=tuple(range(1, 40, 2))), Tiny(settings()))
    assert len(list((tmp_path / "divergence").iterdir())) == 10


class Saves(Recorder):
    """A checkpoint within the training, as it is done for real."""

    def __init__(self, path: Path, step: int) -> None:
        super().__init__()
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *rest)
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("kind", ["muon_adamw", "adamw"])
def test_a_resumed_training_is_the_uninterrupted_one(tmp_path: Path, kind: Any) -> None:
    def make() -> tuple[Tiny, TinyData]:
        return Tiny(settings(kind=kind, decay_steps=12)), TinyData(5, poisoned=(2,))

    whole = Saves(tmp_path / "seven.ckpt", 7)
    module, data = make()
    trainer(tmp_path / "whole", 12, EMA(0.9), whole, gradient_clip_val=1.0).fit(module, data)
    assert whole.skipped == [0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]

    resumed = Recorder()
    other, data = make()
    fresh = trainer(tmp_path / "resumed", 12, EMA(0.9), resumed, gradient_clip_val=1.0)
    fresh.fit(other, datamodule=data, ckpt_path=tmp_path / "seven.ckpt", weights_only=True)
    assert len(resumed.weights) == 5 and torch.equal(other.weights, module.weights)
    for ours, theirs in zip(resumed.weights, whole.weights[7:], strict=True):
        assert torch.equal(ours, theirs)
    assert resumed.rates == whole.rates[7:] and resumed.skipped == whole.skipped[7:]
    assert resumed.norms[1:] == whole.norms[8:]


def test_a_resumed_training_follows_its_own_settings(tmp_path: Path) -> None:
    data = TinyData(20)
    first = trainer(tmp_path, 3)
    first.fit(Tiny(settings()), data)
    first.save_checkpoint(tmp_path / "three.ckpt")

    def resume(**options: Any) -> Tiny:
        module = Tiny(settings(**options))
        module_trainer = trainer(tmp_path, 4)
        module_trainer.fit(module, datamodule=TinyData(20), ckpt_path=tmp_path / "three.ckpt", weights_only=True)
        return module

    module = resume(learning_rate=1e-4, weight_decay=0.5, muon_scale="original")
    groups = module.trainer.optimizers[0].param_groups
    assert {group["lr"] for group in groups} == {1e-4}
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert groups[0]["scale"] == "original"
    with pytest.raises(UserError, match="kind of the optimiser is muon_adamw, this training has adamw"):
        resume(kind="adamw")


def test_mixed_precision_trains(tmp_path: Path) -> None:
    module = Tiny(settings())
    before = module.loss(Batches(1, 64).batch(0)).item()
    _, recorder = fit(tmp_path, 60, TinyData(60, poisoned=(5,)), module, precision="bf16-mixed", gradient_clip_val=1.0)
    assert module.loss(Batches(1, 64).batch(0)).item() < 0.8 * before
    assert module.weights.dtype == torch.float32 and recorder.skipped[-1] == 1


def test_flattened_weights_are_refused(tmp_path: Path) -> None:
    module = Tiny(settings())
    module.trainer = trainer(tmp_path, 1)
    module.trainer._accelerator_connector.strategy = FSDPStrategy()
    with pytest.raises(UserError, match="take ddp"):
        module.configure_optimizers()


def test_the_default_is_the_published_recipe() -> None:
    default = Optimiser()
    assert (default.kind, default.learning_rate, default.weight_decay) == ("muon_adamw", 1e-3, 0.01)
    assert (default.warmup_steps, default.decay_steps) == (2000, None)
