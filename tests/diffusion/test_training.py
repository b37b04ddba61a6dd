"""What a training step draws and computes: shared contexts, ranks, checkpointed activations."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import PropertyMock, patch

import pytest
import torch
from torch import Tensor, nn

from mstv.checkpoint import describe
from mstv.data.latents import StepBatch
from mstv.diffusion.loss import v_errors
from mstv.diffusion.module import DiffusionModule, load_diffusion
from mstv.diffusion.sample_step import Sampling
from mstv.diffusion.schedule import NoiseSchedule
from mstv.errors import UserError
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.framepack import FramePack, FramePackLatents
from mstv.rollout.layout import StepLayout
from mstv.rollout.plan import PlanFamily
from mstv.transformer.size import TransformerSize

LEVELS = Levels((16, 16), (4, 4), 3)
PLAN = CoarseToFine([1, 2, 4], 16)


def module(plan: PlanFamily = PLAN, **options) -> DiffusionModule:
    made = DiffusionModule(LEVELS, plan, 3, TransformerSize(24, 2, 2), "discrete", 3, **options)
    torch.manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    return made


def batch(size: int, step: int = 2, plan: PlanFamily = PLAN, index: int = 5) -> StepBatch:
    layout = StepLayout.of(plan.plan(16).steps[step], LEVELS)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.rand(size, layout.num_tokens, 3, generator=generator) * 2 - 1
    actions = torch.randint(0, 3, (size, len(layout.frames)), generator=generator)
    return StepBatch(step, tokens, actions, index, ("a",) * size, (0,) * size)


def part(whole: StepBatch, rank: int, size: int) -> StepBatch:
    assert whole.actions is not None
    own = slice(rank * size, (rank + 1) * size)
    return StepBatch(whole.step, whole.tokens[own], whole.actions[own], whole.index, whole.keys[own], whole.starts[own])


def gradients(trained: DiffusionModule, of: StepBatch, rank: int = 0) -> tuple[dict, list[Tensor]]:
    trained.zero_grad()
    with patch.object(DiffusionModule, "global_rank", new_callable=PropertyMock, return_value=rank):
        outputs = trained.training_step(of, 0)
    outputs["loss"].backward()
    return outputs, [p.grad for p in trained.parameters() if p.grad is not None]


def assert_close(a: list[Tensor], b: list[Tensor]) -> None:
    for x, y in zip(a, b, strict=True):
        assert torch.allclose(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"noise_draws": 2}, {"context_noise": 0.3, "drop_probability": 0.5}])
def test_ranks_draw_what_one_process_with_all_their_samples_draws(options: dict) -> None:
    trained, whole = module(**options), batch(6)
    joined, expected = gradients(trained, whole)
    parts = [gradients(trained, part(whole, rank, 3), rank) for rank in range(2)]
    assert_close([(a + b) / 2 for a, b in zip(parts[0][1], parts[1][1], strict=True)], expected)
    draws = options.get("noise_draws", 1)
    of_ranks = torch.cat([outputs["losses"].view(draws, 3) for outputs, _ in parts], 1)
    assert torch.allclose(of_ranks, joined["losses"].view(draws, 6), rtol=1e-5)
    assert len(joined["t"].unique()) == 6 * draws


def test_another_batch_draws_other_noise_and_the_same_batch_the_same() -> None:
    trained = module()
    a, b, c = (trained.training_step(batch(2, index=index), 0) for index in (5, 6, 5))
    assert not torch.equal(a["t"], b["t"])
    assert torch.equal(a["t"], c["t"]) and torch.equal(a["losses"], c["losses"])


@pytest.mark.parametrize("size", [1, 2])
def test_draws_that_share_a_context_cost_and_give_what_each_would_alone(size: int) -> None:
    denoiser, layout = module().denoiser, StepLayout.of(PLAN.plan(16).steps[2], LEVELS)
    whole = batch(size)
    context_eps = torch.randn(size, layout.num_context_tokens, 3)
    eps, t = torch.randn(3 * size, layout.num_target_tokens, 3), torch.rand(3 * size)
    dropped = torch.tensor([False, True])[:size]

    def errors(chosen: slice) -> Tensor:
        inputs = (denoiser, NoiseSchedule(), layout, whole.tokens, context_eps, eps[chosen], t[chosen])
        return v_errors(*inputs, whole.actions, dropped)

    shared = errors(slice(None))
    alone = torch.cat([errors(slice(m * size, (m + 1) * size)) for m in range(3)])
    assert torch.allclose(shared, alone, rtol=1e-4)
    assert_close(
        *(torch.autograd.grad(e.mean(), list(denoiser.parameters()), allow_unused=False) for e in (shared, alone))
    )


def test_draws_need_an_isolated_context() -> None:
    with pytest.raises(UserError, match="noise_draws is 2, attention is joint"):
        module(attention="joint", noise_draws=2)
    with pytest.raises(UserError, match="noise_draws is 0"):
        module(noise_draws=0)


@pytest.mark.parametrize("attention", ["isolated", "joint"])
def test_checkpointed_activations_change_nothing_but_the_memory(attention: str) -> None:
    saved, results = {}, {}
    for checkpointing in (False, True):
        trained = module(attention=attention, activation_checkpointing=checkpointing)
        count = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            outputs = trained.training_step(batch(2), 0)
        outputs["loss"].backward()
        saved[checkpointing] = count
        results[checkpointing] = [outputs["loss"].detach(), *(p.grad for p in trained.parameters())]
    assert saved[True] < 0.5 * saved[False]
    for a, b in zip(results[False], results[True], strict=True):
        assert torch.equal(a, b)


def test_losses_of_each_target_level() -> None:
    plan = FramePack([1, 1, 2], 2)
    trained, whole = module(plan), batch(3, 0, plan)
    outputs = trained.training_step(whole, 0)
    assert outputs["levels"] == (0, 1, 2) and outputs["level_losses"].shape == (3, 3)
    # 2 frames of 16, 4 and 1 tokens.
    weights = torch.tensor([32, 8, 2]) / 42
    assert torch.allclose((outputs["level_losses"] * weights).sum(1), outputs["losses"], rtol=1e-5)
    assert torch.allclose(outputs["losses"].mean(), outputs["loss"])


def scaled(plan: PlanFamily = PLAN) -> DiffusionModule:
    made = module(plan, normalise_latents=True)
    assert made.scaling is not None
    made.scaling.set(torch.tensor([[0.5, -0.5, 0.0], [0.1, 0.2, 0.3], [0.9, 0.0, -0.9]]), torch.tensor([0.1, 0.2, 0.3]))
    return made


@pytest.mark.parametrize("plan", [PLAN, FramePackLatents([1, 2, 4], 1)], ids=["tokens", "framepack"])
def test_normalised_latents_are_what_the_plain_model_sees_of_normalised_data(plan: PlanFamily) -> None:
    """Training and sampling of raw latents equal those of a plain model on latents that were normalised before."""
    with_scaling, plain = scaled(plan), module(plan)
    step = len(plan.plan(16).steps) - 1
    raw = batch(2, step, plan)
    layout = StepLayout.of(plan.plan(16).steps[step], LEVELS)
    assert with_scaling.scaling is not None
    tokens = with_scaling.scaling.normalise(raw.tokens, layout.token_level)
    assert torch.allclose(with_scaling.scaling.restore(tokens, layout.token_level), raw.tokens, atol=1e-6)
    normal = replace(raw, tokens=tokens)
    assert_close([gradients(with_scaling, raw)[0]["losses"]], [gradients(plain, normal)[0]["losses"]])
    noise = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(2))
    split, sampling = layout.num_context_tokens, Sampling(3, "ddim")
    sampled = with_scaling.step_sampler(sampling)(layout, raw.tokens[:, :split], raw.actions, noise)
    expected = plain.step_sampler(sampling)(layout, tokens[:, :split], raw.actions, noise)
    assert_close([sampled], [with_scaling.scaling.restore(expected, layout.token_level[split:])])


def test_a_checkpoint_holds_the_scaling(tmp_path: Path) -> None:
    made = scaled()
    path = tmp_path / "a.ckpt"
    torch.save({"mstv": describe("diffusion", made.config), "state_dict": made.state_dict()}, path)
    again, _ = load_diffusion(path)
    assert made.scaling is not None and again.scaling is not None
    assert torch.equal(again.scaling.mean, made.scaling.mean) and torch.equal(again.scaling.scale, made.scaling.scale)
    assert again.conditions == "actions"
