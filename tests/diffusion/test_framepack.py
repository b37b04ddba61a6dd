"""FramePack's input layer: patches, frames and grids of the merged context, and training and sampling with it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mstv import checkpoint
from mstv.data.latents import StepBatch
from mstv.diffusion.denoiser import AttentionMode, Denoiser
from mstv.diffusion.framepack import FramePackDenoiser
from mstv.diffusion.loss import v_errors
from mstv.diffusion.module import DiffusionModule, load_diffusion
from mstv.diffusion.sample_step import Sampling
from mstv.diffusion.schedule import NoiseSchedule
from mstv.errors import UserError
from mstv.levels import Levels
from mstv.optimiser import Optimiser
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.framepack import FramePackLatents
from mstv.rollout.layout import StepLayout
from mstv.transformer.size import TransformerSize
from tests.diffusion.test_attention import one_pass, relative

# Not square, so that rows and columns cannot be taken for one another.
LEVELS = Levels((16, 32), (4, 4), 3)
ROWS, COLUMNS, CHANNELS = 4, 8, 3
SIZE = TransformerSize(24, 2, 2)
FAMILY = FramePackLatents([2, 1, 3], 2)
LAYOUT = StepLayout.of(FAMILY.plan(ROWS * COLUMNS).steps[0], LEVELS)


def make(attention: AttentionMode = "isolated", frames: tuple[int, ...] = (2, 1, 3)) -> FramePackDenoiser:
    torch.manual_seed(0)
    denoiser = FramePackDenoiser(CHANNELS, LEVELS, frames, SIZE, "discrete", 3, attention)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.2)
    return denoiser.eval()


def inputs(batch: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Context, noisy targets, times, actions."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(batch, LAYOUT.num_tokens, CHANNELS, generator=generator)
    actions = torch.randint(0, 3, (batch, 8), generator=generator)
    context, x_t = tokens.split([LAYOUT.num_context_tokens, LAYOUT.num_target_tokens], 1)
    return context, x_t, torch.linspace(0.2, 0.9, batch), actions


@torch.no_grad()
def test_patches_equal_a_strided_convolution() -> None:
    denoiser, (context, _, _, _) = make(), inputs()
    layers = [denoiser.from_latents, *denoiser.from_patches.values()]
    frames = context.unflatten(1, (6, ROWS, COLUMNS)).permute(0, 1, 4, 2, 3)
    expected = []
    for level, (layer, (first, end)) in enumerate(zip(layers, [(4, 6), (3, 4), (0, 3)], strict=True)):
        assert isinstance(layer, nn.Linear)
        side = 2**level
        kernel = layer.weight.reshape(SIZE.dim, CHANNELS, side, side)
        maps = nn.functional.conv2d(frames[:, first:end].flatten(0, 1), kernel, layer.bias, stride=side)
        assert maps.shape[2:] == LEVELS.grid(level)
        expected.append(maps.flatten(2).mT.reshape(2, -1, SIZE.dim))
    embedded = denoiser.embed_context(context)
    assert relative(embedded, torch.cat(expected, 1)) < 1e-5


@torch.no_grad()
def test_tokens_stand_on_their_own_level_and_frame() -> None:
    """Grid and frame of the tokens, and the condition of each cell."""
    denoiser, (context, x_t, t, actions) = make(), inputs()
    state = denoiser.prepare(LAYOUT, context, torch.zeros(2), actions)
    layout = state.layout
    assert layout.num_context_tokens == 2 * 32 + 1 * 8 + 3 * 2 and layout.num_target_tokens == 2 * 32
    assert layout.target_levels == (0,)
    of_cell = list(zip(layout.cell_level.tolist(), layout.frames[layout.cell_frame].tolist(), strict=True))
    assert of_cell == [(0, 4), (0, 5), (1, 3), (2, 0), (2, 1), (2, 2), (0, 6), (0, 7)]
    for level in range(3):
        rows, columns = LEVELS.grid(level)
        chosen = layout.cell_level[layout.token_cell] == level
        assert layout.token_row[chosen].unique().tolist() == list(range(rows))
        assert layout.token_column[chosen].unique().tolist() == list(range(columns))
    for cell, (level, frame) in enumerate(of_cell):
        expected = denoiser.level.weight[level] + denoiser.action.table.weight[actions[:, frame]]
        if cell < layout.num_context_cells:
            found = state.context_condition[:, cell] - denoiser.time(torch.zeros(2))
        else:
            found = state.target_condition[:, cell - layout.num_context_cells]
        assert relative(found, expected) < 1e-5
    assert denoiser.denoise(state, x_t, t).shape == x_t.shape


@torch.no_grad()
@pytest.mark.parametrize("attention", ["isolated", "joint"])
def test_framepack_equals_one_pass_over_all_tokens(attention: AttentionMode) -> None:
    denoiser, (context, x_t, t, actions) = make(attention), inputs()
    state = denoiser.prepare(LAYOUT, context, torch.zeros(2), actions)
    assert (state.past is None) == (attention == "joint")
    for moment in (t, t.flip(0), t):
        expected = one_pass(denoiser, LAYOUT, context, x_t, moment, actions)
        assert relative(denoiser.denoise(state, x_t, moment), expected) < 1e-5


@torch.no_grad()
def test_with_level_0_alone_it_is_the_ordinary_denoiser() -> None:
    levels = Levels((16, 32), (4, 4), 1)
    packed = FramePackDenoiser(CHANNELS, levels, [6], SIZE, "discrete", 3)
    for parameter in packed.parameters():
        nn.init.normal_(parameter, std=0.2)
    ordinary = Denoiser(CHANNELS, 1, SIZE, "discrete", 3)
    ordinary.load_state_dict(packed.state_dict())
    context, x_t, t, actions = inputs()
    a, b = (d.denoise(d.prepare(LAYOUT, context, t * 0, actions), x_t, t) for d in (packed, ordinary))
    assert torch.equal(a, b)


def test_every_parameter_takes_part_even_of_levels_without_frames() -> None:
    denoiser = make(frames=(5, 0, 1))
    context, x_t, t, actions = inputs()
    x = torch.cat([context, x_t], 1)
    v_errors(
        denoiser, NoiseSchedule(), LAYOUT, x, torch.randn_like(context), torch.randn_like(x_t), t, actions
    ).sum().backward()
    assert all(parameter.grad is not None for parameter in denoiser.parameters())


def test_another_step_is_refused() -> None:
    context, _, t, actions = inputs()
    with pytest.raises(ValueError, match="takes 5 context frames of 32 tokens, got 6"):
        make(frames=(2, 1, 2)).prepare(LAYOUT, context, t, actions)
    step = CoarseToFine([1, 2], 0).plan(32).steps[0]
    with pytest.raises(ValueError, match="level 0 alone"):
        make().prepare(StepLayout.of(step, LEVELS), context, t, actions)


def module(family: FramePackLatents = FAMILY) -> DiffusionModule:
    optimiser = Optimiser(learning_rate=1e-2, warmup_steps=1)
    return DiffusionModule(LEVELS, family, CHANNELS, SIZE, "discrete", 3, optimiser=optimiser)


def test_levels_and_plan_must_agree() -> None:
    with pytest.raises(UserError, match=r"^plan: num_context_frames has 2 levels, levels\.num_levels is 3: .*\S$"):
        module(FramePackLatents([2, 1], 2))
    with pytest.raises(UserError, match="num_context_frames has 4 levels"):
        module(FramePackLatents([2, 1, 1, 1], 2))


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_training_lowers_the_loss_and_its_checkpoint_samples(tmp_path: Path) -> None:
    trained = module()
    assert isinstance(trained.denoiser, FramePackDenoiser)
    context, x_t, _, actions = inputs(batch=8)
    # Tokens that the context tells: every frame is the first one.
    tokens = context[:, : ROWS * COLUMNS].repeat(1, 8, 1)
    optimiser, _ = trained.optimiser.build(trained)
    losses = []
    for index in range(150):
        batch = StepBatch(0, tokens, actions, index, ("a",) * 8, (0,) * 8)
        loss = trained.training_step(batch, 0)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.85 * sum(losses[:20])

    path = tmp_path / "ours.ckpt"
    checkpoint.write_weights(path, "diffusion", trained.config, trained.state_dict())
    loaded, _ = load_diffusion(path)
    assert isinstance(loaded.denoiser, FramePackDenoiser) and loaded.family == FAMILY
    noise = torch.randn(8, LAYOUT.num_tokens, CHANNELS)
    split, sampled = LAYOUT.num_context_tokens, {}
    for guidance in (1.0, 1.5):
        sample = loaded.step_sampler(Sampling(4, guidance=guidance))
        sampled[guidance] = sample(LAYOUT, tokens[:, :split], actions, noise)
        assert sampled[guidance].shape == x_t.shape and sampled[guidance].isfinite().all()
    assert not torch.allclose(sampled[1.0], sampled[1.5], atol=1e-4)
