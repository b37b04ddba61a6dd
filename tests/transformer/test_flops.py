"""The formula of FLOPs against a count of what PyTorch multiplies in the real training steps."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mstv.data.frames import FrameBatch
from mstv.data.latents import StepBatch
from mstv.diffusion.flops import TrainingStep
from mstv.diffusion.module import DiffusionModule
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.framepack import FramePack, FramePackLatents
from mstv.rollout.plan import PlanFamily
from mstv.tokenizer.flops import lpips_flops
from mstv.tokenizer.module import TokenizerModule
from mstv.trained_module import TrainedModule
from mstv.transformer.size import TransformerSize

LEVELS = Levels((32, 32), (4, 4), 3)
SIZE = TransformerSize(48, 3, 2, mlp_ratio=3.0)
CHANNELS, SAMPLES = 5, 2


def counted(module: TrainedModule, batch: StepBatch | FrameBatch) -> int:
    """FLOPs of a training step and its backward pass; plain attention, of which the counter sees every product."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        module.training_step(batch, 0)["loss"].backward()
    return counter.get_total_flops()


def input_gradients(module: nn.Module, vectors: dict[str, int]) -> int:
    """What the formula counts too much: gradients of the inputs of layers that take data and no activations."""
    return sum(2 * count * module.get_submodule(name).weight.numel() for name, count in vectors.items())


def step_batch(module: DiffusionModule, step: int) -> StepBatch:
    tokens = torch.randn(SAMPLES, module.plan.num_tokens[step], CHANNELS)
    actions = torch.zeros(SAMPLES, len(module.plan.steps[step].frames), dtype=torch.long)
    return StepBatch(step, tokens, actions, 0, ("a",) * SAMPLES, (0,) * SAMPLES)


def diffusion(family: PlanFamily, **settings: object) -> DiffusionModule:
    return DiffusionModule(LEVELS, family, CHANNELS, SIZE, "discrete", 3, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", [CoarseToFine([1, 4, 16], 64), FramePack([1, 2, 4], 2)], ids=["plan", "framepack"])
@pytest.mark.parametrize(("attention", "draws"), [("joint", 1), ("isolated", 1), ("isolated", 3)])
def test_diffusion(family: PlanFamily, attention: str, draws: int) -> None:
    module = diffusion(family, attention=attention, noise_draws=draws)
    for step in {0, len(module.plan.steps) - 1}:
        batch = step_batch(module, step)
        layers = {"from_latents": SAMPLES * module.training_steps[step].num_tokens(draws)}
        layers["time.mlp.0"] = SAMPLES * (1 + draws)
        expected = counted(module, batch) + input_gradients(module.denoiser, layers)
        assert module.training_flops(batch) == expected
        assert module.num_samples(batch) == SAMPLES
        targets = sum(64 >> 2 * cell.level for cell in module.plan.steps[step].targets)
        assert module.num_tokens(batch) == SAMPLES * (module.plan.num_tokens[step] + (draws - 1) * targets)


def test_denoiser_that_merges_its_context() -> None:
    module = diffusion(FramePackLatents([1, 2, 4], 2))
    batch = step_batch(module, 0)
    layers = {"from_latents": SAMPLES * (1 + 2) * 64, "time.mlp.0": SAMPLES * 2}
    layers |= {"from_patches.1": SAMPLES * 2 * 16, "from_patches.2": SAMPLES * 4 * 4}
    assert module.training_flops(batch) == counted(module, batch) + input_gradients(module.denoiser, layers)
    assert module.num_tokens(batch) == SAMPLES * (64 + 2 * 16 + 4 * 4 + 2 * 64)


def test_what_the_formula_adds_is_under_a_percent_at_real_sizes() -> None:
    """The published step at size B, joint and isolated: the input layer's share."""
    plan, size, channels = CoarseToFine([3, 12, 48, 192], 768), TransformerSize(768, 12, 12), 32
    step = TrainingStep.of_plan(plan, 256, channels)[-1]
    added = 2 * channels * 768 * step.num_tokens() + 4 * 256 * 768
    joint, isolated = (step.flops(size, channels, attention) for attention in ("joint", "isolated"))  # type: ignore[arg-type]
    assert added / isolated < 1e-4
    # Of 3840 tokens 768 are targets: the bound on what isolated attention gains in training.
    assert 1.07 < joint / isolated < 1.10


def test_recomputed_activations_are_not_counted() -> None:
    plan = CoarseToFine([1, 4, 16], 64)
    plain, recomputing = diffusion(plan), diffusion(plan, activation_checkpointing=True)
    batch = step_batch(plain, 0)
    assert recomputing.training_flops(batch) == plain.training_flops(batch)
    assert counted(recomputing, batch) > 1.2 * counted(plain, batch)


@pytest.mark.parametrize("cascaded", [False, True])
def test_tokenizer(cascaded: bool) -> None:
    decoder = TransformerSize(64, 2, 4)
    module = TokenizerModule(LEVELS, CHANNELS, SIZE, decoder, cascaded)
    batch = FrameBatch(torch.rand(SAMPLES, 3, 32, 32), 0)
    tokens = SAMPLES * (64 + 16 + 4)
    expected = counted(module, batch) + input_gradients(module.tokenizer.encoder, {"patch_embedding": tokens})
    assert module.training_flops(batch) == expected
    assert module.num_samples(batch) == SAMPLES and module.num_tokens(batch) == tokens


def test_lpips() -> None:
    widths, layers = [64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3], []
    channels = 3
    for width in widths:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers.append(nn.Conv2d(channels, int(width), 3, padding=1))
            channels = int(width)
    vgg = nn.Sequential(*layers).requires_grad_(False).to("meta")
    decoded = torch.rand(1, 3, 64, 32, device="meta", requires_grad=True)
    counter = FlopCounterMode(display=False)
    with counter:
        (vgg(decoded) - vgg(torch.rand(1, 3, 64, 32, device="meta"))).sum().backward()
    assert lpips_flops(64, 32) == counter.get_total_flops()
