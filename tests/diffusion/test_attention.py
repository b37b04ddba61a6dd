"""Isolated and joint attention, and the reuse of the context's keys and values."""

import pytest
import torch
from torch import Tensor, nn

from mstv.diffusion.denoiser import Denoiser
from mstv.diffusion.loss import v_errors
from mstv.diffusion.sample_step import Sampling, sample_step
from mstv.diffusion.schedule import NoiseSchedule
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.cost import AttentionMode
from mstv.rollout.layout import StepLayout
from mstv.rollout.plan import Cell, Step
from mstv.token_cells import TokenCells
from mstv.transformer.block import Block
from mstv.transformer.size import TransformerSize

LEVELS = Levels((16, 16), (4, 4), 3)
STEPS = [
    CoarseToFine([1, 2, 4], 16).plan(16).steps[2],
    # Targets of several levels, and of as many tokens in each cell.
    Step((Cell(0, 0), Cell(2, 1)), (Cell(0, 2), Cell(1, 2), Cell(2, 3))),
    Step((Cell(1, 0),), (Cell(1, 1), Cell(1, 2))),
]


def make(attention: AttentionMode, depth: int = 3) -> Denoiser:
    torch.manual_seed(0)
    denoiser = Denoiser(3, 3, TransformerSize(24, depth, 2), "discrete", 3, attention)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.2)
    return denoiser.eval()


def inputs(layout: StepLayout, batch: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Context, noisy targets, times, actions."""
    generator = torch.Generator().manual_seed(1)
    context = torch.randn(batch, layout.num_context_tokens, 3, generator=generator)
    x_t = torch.randn(batch, layout.num_target_tokens, 3, generator=generator)
    actions = torch.randint(0, 3, (batch, len(layout.frames)), generator=generator)
    return context, x_t, torch.linspace(0.2, 0.9, batch), actions


def one_pass(
    denoiser: Denoiser, layout: StepLayout, context: Tensor, x_t: Tensor, t: Tensor, actions: Tensor
) -> Tensor:
    """v by one pass over all tokens, from the formulas: masked attention, conditions per token, nothing remembered."""
    state = denoiser.prepare(layout, context, torch.zeros(len(t)), actions)
    layout, split = state.layout, state.layout.num_context_tokens
    x = torch.cat([state.context, denoiser.from_latents(x_t) + state.target_position], 1)
    cells = torch.cat([state.context_condition, state.target_condition + denoiser.time(t)[:, None]], 1)
    condition = nn.functional.silu(cells[:, layout.token_cell])
    mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
    if denoiser.attention == "isolated":
        mask[:split, split:] = False
    for block in denoiser.transformer.blocks:
        assert isinstance(block, Block) and block.modulation is not None
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = block.modulation[1](condition).chunk(6, -1)
        attention, heads = block.attention, block.attention.num_heads
        y = nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale_a) + shift_a
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in attention.qkv(y).chunk(3, -1))
        scores = attention.q_norm(q) @ attention.k_norm(k).mT / q.shape[-1] ** 0.5
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        x = x + gate_a * attention.proj((weights @ v).transpose(1, 2).flatten(2))
        y = nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale_m) + shift_m
        x = x + gate_m * block.mlp(y)
    shift, scale = denoiser.modulation[1](condition).chunk(2, -1)
    return denoiser.to_latents(nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)[:, split:]


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@torch.no_grad()
@pytest.mark.parametrize("attention", ["isolated", "joint"])
@pytest.mark.parametrize("step", STEPS)
def test_remembered_equals_one_pass_over_all_tokens(attention: AttentionMode, step: Step) -> None:
    denoiser, layout = make(attention), StepLayout.of(step, LEVELS)
    context, x_t, t, actions = inputs(layout)
    state = denoiser.prepare(layout, context, torch.zeros(2), actions)
    for moment in (t, t.flip(0), t):  # the state serves many evaluations and does not wear out
        expected = one_pass(denoiser, layout, context, x_t, moment, actions)
        assert relative(denoiser.denoise(state, x_t, moment), expected) < 1e-5
    with torch.enable_grad():
        state = denoiser.prepare(layout, context, torch.zeros(2), actions)
        assert relative(denoiser.denoise(state, x_t, t).detach(), expected) < 1e-5


@torch.no_grad()
def test_targets_never_change_an_isolated_context() -> None:
    denoiser, layout = make("isolated"), StepLayout.of(STEPS[0], LEVELS)
    context, x_t, t, actions = inputs(layout)
    state = denoiser.prepare(layout, context, torch.zeros(2), actions)
    assert state.past is not None

    def remembered() -> list[Tensor]:
        return [values[:, :, : past.num_known].clone() for past in state.past or [] for values in past.known]

    before = remembered()
    first = denoiser.denoise(state, x_t, t)
    other = denoiser.denoise(state, x_t + 1, t / 2)
    assert not torch.allclose(first, other)
    for a, b in zip(before, remembered(), strict=True):
        assert torch.equal(a, b)
    # And joint attention does change it.
    joint = make("joint")
    pasts = []
    for change in (0, 1):
        state = joint.prepare(layout, context, torch.zeros(2), actions, refresh=5)
        joint.denoise(state, x_t + change, t)
        assert state.past is not None
        pasts.append(state.past[1].known.key[:, :, : layout.num_context_tokens].clone())
    assert not torch.allclose(*pasts)


@torch.no_grad()
def test_stale_keys_are_refreshed_every_k_evaluations() -> None:
    denoiser, layout = make("joint"), StepLayout.of(STEPS[0], LEVELS)
    context, x_t, _, actions = inputs(layout)
    times = torch.linspace(1, 0, 7)

    def evaluations(refresh: int) -> list[Tensor]:
        state = denoiser.prepare(layout, context, torch.zeros(2), actions, refresh=refresh)
        return [denoiser.denoise(state, x_t * (1 - t), t.expand(2)) for t in times]

    exact = evaluations(1)
    errors = {k: [relative(a, b) for a, b in zip(evaluations(k), exact, strict=True)] for k in (1, 3, 50)}
    assert max(errors[1]) == 0
    assert [index for index, error in enumerate(errors[3]) if error < 1e-6] == [0, 3, 6]
    assert [index for index, error in enumerate(errors[50]) if error < 1e-6] == [0]
    assert errors[50][1] == errors[3][1] > 1e-4


def test_gradients_flow_through_the_context() -> None:
    layout = StepLayout.of(STEPS[0], LEVELS)
    context, x_t, t, actions = inputs(layout)
    x = torch.cat([context, x_t], 1)
    gradients = {}
    for kind in ("two calls", "one pass"):
        denoiser = make("isolated")
        context_in = context.clone().requires_grad_()
        if kind == "two calls":
            state = denoiser.prepare(layout, context_in, torch.zeros(2), actions)
            v = denoiser.denoise(state, x_t, t)
        else:
            v = one_pass(denoiser, layout, context_in, x_t, t, actions)
        v.square().mean().backward()
        assert context_in.grad is not None
        weights = [p.grad for p in denoiser.parameters()]
        gradients[kind] = [context_in.grad, *(g for g in weights if g is not None)]
    for a, b in zip(*gradients.values(), strict=True):
        assert relative(a, b) < 1e-4
    # Every parameter but the rows of unused embeddings takes part, as DistributedDataParallel wants it.
    denoiser = make("isolated")
    v_errors(
        denoiser, NoiseSchedule(), layout, x, torch.randn_like(context), torch.randn_like(x_t), t, actions
    ).sum().backward()
    assert all(parameter.grad is not None for parameter in denoiser.parameters())


@torch.no_grad()
@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_sampling_twice_gives_the_same(guidance: float) -> None:
    denoiser, layout = make("isolated"), StepLayout.of(STEPS[0], LEVELS)
    context, _, _, actions = inputs(layout)
    noise = torch.randn(2, layout.num_tokens, 3)
    a, b = (
        sample_step(denoiser, NoiseSchedule(), layout, context, actions, noise, Sampling(4, guidance=guidance))
        for _ in range(2)
    )
    assert torch.equal(a, b)


@pytest.mark.parametrize("step", STEPS)
def test_conditions_per_cell_equal_conditions_per_token(step: Step) -> None:
    layout = StepLayout.of(step, LEVELS)
    for cells, run in [
        (layout.context_cells, layout.token_cell[: layout.num_context_tokens]),
        (layout.target_cells, layout.token_cell[layout.num_context_tokens :] - layout.num_context_cells),
        (layout.all_cells, layout.token_cell),
    ]:
        assert torch.equal(cells.of_token, run)
        count = int(run.max()) + 1
        shift, scale = torch.randn(2, 2, count, 5).unbind(0)
        x, y = torch.randn(2, 2, len(run), 5).unbind(0)
        for same in (cells, TokenCells(cells.of_token, None)):
            assert torch.allclose(same.affine(shift, x, scale), shift[:, run] + x * scale[:, run], atol=1e-6)
            assert torch.allclose(same.gated(x, scale, y), x + scale[:, run] * y, atol=1e-6)
    assert StepLayout.of(STEPS[1], LEVELS).target_cells.per_cell is None
    assert StepLayout.of(STEPS[2], LEVELS).target_cells.per_cell == 4
