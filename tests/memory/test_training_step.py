"""Memory of a training step: what is counted without values is what real tensors take."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mstv.data.frames import FrameBatch
from mstv.data.latents import StepBatch
from mstv.diffusion.module import DiffusionModule
from mstv.errors import UserError
from mstv.levels import Levels
from mstv.memory.gpu_norms import keep_like_a_gpu
from mstv.memory.live_bytes import LiveBytes
from mstv.memory.training_step import Precision, StepMemory, give_sizes, without_values
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.tokenizer.lpips_shape import LpipsShape
from mstv.tokenizer.module import TokenizerModule
from mstv.tokenizer.perceptual import PerceptualLoss
from mstv.trained_module import TrainedModule
from mstv.transformer.size import TransformerSize

LEVELS = Levels((32, 32), (8, 8), 3)
SIZE = TransformerSize(32, 3, 2)
PLAN = CoarseToFine([1, 4, 8], 16)


def diffusion(device: str, **options: Any) -> tuple[DiffusionModule, StepBatch]:
    with torch.device(device):
        module = DiffusionModule(LEVELS, PLAN, 4, SIZE, "discrete", 3, **options)
    step = module.plan.steps[2]
    tokens = torch.rand(3, step.num_tokens(16), 4)
    return module, StepBatch(2, tokens, torch.ones(3, len(step.frames), dtype=torch.int64), 0, ("a",) * 3, (0,) * 3)


def tokenizer(device: str, lpips: bool = False, **options: Any) -> tuple[TokenizerModule, FrameBatch]:
    with torch.device(device):
        module = TokenizerModule(LEVELS, 4, SIZE, SIZE, **options)
        if lpips:
            module.lpips_weight, module._perceptual = 0.05, [PerceptualLoss(LpipsShape())]
    return module, FrameBatch(torch.rand(3, 3, 32, 32), 0)


CASES: dict[str, Any] = {
    "isolated": lambda device: diffusion(device),
    "joint": lambda device: diffusion(device, attention="joint"),
    "draws": lambda device: diffusion(device, noise_draws=2),
    "checkpointing": lambda device: diffusion(device, activation_checkpointing=True),
    "tokenizer": lambda device: tokenizer(device),
    "cascaded": lambda device: tokenizer(device, cascaded=True, activation_checkpointing=True),
}


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("case", CASES)
def test_without_values_it_is_what_real_tensors_take(case: str, precision: str) -> None:
    real, batch = CASES[case]("cpu")
    # The first step makes layouts of plan steps, which are kept.
    StepMemory.of(real, batch, Precision.of(precision))
    counted = StepMemory.of(real, batch, Precision.of(precision))
    sizes, _ = CASES[case]("meta")
    with without_values():
        give_sizes(sizes, torch.float32)
        reckoned = StepMemory.of(sizes, batch, Precision.of(precision))
    assert (reckoned.saved, reckoned.gradients) == (counted.saved, counted.gradients)
    # Kernels have a little room of their own, and autograd adds gradients in place where nobody looks at them.
    assert reckoned.peak == pytest.approx(counted.peak, rel=0.01)
    assert counted.gradients == sum(parameter.nbytes for parameter in real.parameters())
    assert counted.peak >= counted.saved > 0


def kept_for_the_backward_pass(module: TrainedModule, batch: Any) -> int:
    """Bytes that autograd itself says it keeps, of memory that is no parameter's, buffer's or batch's."""
    known = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}
    known |= {value.untyped_storage()._cdata for value in vars(batch).values() if isinstance(value, Tensor)}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = module.training_step(batch, 0)
    assert outputs["loss"].requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("case", ["isolated", "joint", "tokenizer"])
def test_it_is_what_autograd_keeps(case: str) -> None:
    module, batch = CASES[case]("cpu")
    kept = kept_for_the_backward_pass(module, batch)
    saved = StepMemory.of(module, batch, Precision.of("32-true")).saved
    # But for layouts, which are made before, and the few numbers for the log.
    assert abs(saved - kept) < 0.01 * kept


def test_accumulated_gradients_are_there_before() -> None:
    module, batch = diffusion("cpu", activation_checkpointing=True)
    first = StepMemory.of(module, batch, Precision.of("32-true"))
    later = StepMemory.of(module, batch, Precision.of("32-true"), accumulates=True)
    assert later.saved == first.saved + first.gradients
    assert first.peak < later.peak <= first.peak + first.gradients


def test_checkpointing_and_lpips_count() -> None:
    peaks = {}
    for name, (module, batch) in {
        "plain": tokenizer("cpu"),
        "checkpointing": tokenizer("cpu", activation_checkpointing=True),
        "lpips": tokenizer("cpu", lpips=True),
    }.items():
        peaks[name] = StepMemory.of(module, batch, Precision.of("32-true")).peak
    assert peaks["checkpointing"] < 0.6 * peaks["plain"] < 0.6 * peaks["lpips"]


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_norms_keep_like_a_gpu(autocast: torch.dtype | None) -> None:
    norm = nn.RMSNorm(64)
    x = torch.rand(10, 64, dtype=autocast or torch.float32, requires_grad=True)
    with without_values():
        x = torch.empty(10, 64, dtype=autocast or torch.float32, requires_grad=True)
        give_sizes(norm, torch.float32)
        keep_like_a_gpu(norm)
        live = LiveBytes()
        live.hold(x)
        with live, torch.autocast("cpu", autocast) if autocast else nullcontext():
            y = norm(x)
        made = live.live - x.nbytes
    assert y.dtype == torch.float32
    # The answer, a number a row, and under autocast the input in fp32; a CPU would keep three more of its size.
    assert made == 10 * 64 * 4 + 10 * 4 + (10 * 64 * 4 if autocast else 0)


def test_live_bytes() -> None:
    live = LiveBytes()
    with live:
        a = torch.zeros(100)
        b = a[:50].view(5, 10)
        assert live.live == 400
        c = a + 1
        assert live.live == 800
        del c
        assert (live.live, live.peak) == (400, 800)
        del a
        assert live.live == 400
        del b
    assert (live.live, live.peak) == (0, 800)


def test_precisions() -> None:
    assert Precision.of(None) == Precision.of(32) == Precision.of("32-true")
    assert Precision.of("bf16-true").weights == torch.bfloat16
    assert Precision.of("16-mixed").autocast == torch.float16
    with pytest.raises(UserError, match=r"trainer\.precision is 64-true"):
        Precision.of("64-true")
