"""Rollout: every frame filled once, context kept, noise keyed, resume and batching change nothing."""

import pytest
import torch
from torch import Tensor

from mstv.errors import UserError
from mstv.keyed_random import keyed_generator
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.framepack import FramePack, FramePackLatents, FramePackMirrored
from mstv.rollout.full_resolution import FullResolution
from mstv.rollout.generate import Rollout, RolloutState
from mstv.rollout.layout import StepLayout, gather_tokens, scatter_tokens
from mstv.rollout.plan import Cell, Plan, PlanFamily, Step
from mstv.rollout.upscale import RolloutUpscale, Upscale

LEVELS = Levels((16, 32), (4, 4), 3)
FAMILIES = [
    CoarseToFine([1, 2, 4], 16),
    FullResolution(4),
    FramePack([1, 2, 4], 2),
    FramePackMirrored([1, 2, 4], [1, 2, 2]),
    FramePackLatents([1, 2, 4], 2),
    Upscale(2, 2),
    RolloutUpscale(4, 2),
]


def context(batch: int, frames: int = 40) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, frames, *LEVELS.grid(level), 3, generator=generator) for level in range(3)]


def sample(layout: StepLayout, seen: Tensor, actions: Tensor | None, noise: Tensor) -> Tensor:
    """A stand-in model that depends on everything it is given."""
    targets = noise[:, layout.num_context_tokens :]
    bias = seen.mean((1, 2)) + (0 if actions is None else actions.float().flatten(1).mean(1))
    return torch.tanh(targets + bias[:, None, None])


def run(rollout: Rollout, state: RolloutState, steps: int | None = None) -> Tensor:
    """Latents of the frames that the rollout (or its next `steps` steps) completes, joined."""
    parts: list[Tensor] = []
    for done, finished in enumerate(rollout.run(state, sample), 1):
        if not parts:
            first = finished.start
        assert finished.start == first + sum(part.shape[1] for part in parts)
        parts.append(finished.latents)
        if done == steps:
            break
    return torch.cat(parts, 1)


def naive(rollout: Rollout, truth: list[Tensor]) -> list[Tensor]:
    """All latents of all frames, every step of every chunk done on buffers that hold the whole video."""
    latents = [torch.zeros(len(level), rollout.chunks.limit, *level.shape[2:]) for level in truth]
    for buffer, level in zip(latents, truth, strict=True):
        buffer[:, : rollout.start] = level[:, : rollout.start]
    for chunk, first in enumerate(rollout.chunks.starts):
        for index, step in enumerate(rollout.plan.steps):
            layout = StepLayout.of(step, rollout.levels)
            noise = torch.stack(
                [
                    torch.randn(layout.num_tokens, 3, generator=keyed_generator(rollout.seed, key, chunk, index))
                    for key in rollout.keys
                ]
            )
            actions = None
            if rollout.actions is not None:
                frames = [first + frame for frame in step.frames]
                padded = torch.nn.functional.pad(rollout.actions, (0, rollout.chunks.limit), value=-1)
                actions = padded[:, frames]
            tokens = sample(layout, gather_tokens(latents, step.context, first), actions, noise)
            scatter_tokens(latents, step.targets, tokens, first)
    return latents


@pytest.mark.parametrize("end", [36, 37, 21])
@pytest.mark.parametrize("family", FAMILIES)
def test_streaming_equals_a_rollout_that_keeps_everything(family: PlanFamily, end: int) -> None:
    plan = family.plan(LEVELS.num_tokens(0))
    actions = torch.arange(60).reshape(2, 30) % 3
    rollout = Rollout(plan, LEVELS, 20, end, ["a", "b"], actions, seed=3)
    truth = context(2)
    state = rollout.begin([level[:, :20] for level in truth])
    found = run(rollout, state)
    assert found.shape[1] == end - 20
    assert torch.equal(found, naive(rollout, truth)[0][:, 20:end])
    assert (found.abs().amax((2, 3, 4)) > 0).all()
    assert state.num_done == rollout.num_steps <= len(plan.steps) * len(rollout.chunks.starts)
    assert all(level.shape[1] == plan.num_frames for level in state.latents)


def test_no_step_is_done_for_frames_that_nobody_wants() -> None:
    plan = CoarseToFine([1, 2, 4], 16).plan(32)
    assert plan.finished == (0, 0, 1, 2, 2, 3, 4)
    counts = [Rollout(plan, LEVELS, 20, end, ["a"]).num_steps for end in (20, 21, 22, 23, 24, 25)]
    assert counts == [0, 3, 4, 6, 7, 10]


def test_steps_condition_only_on_what_is_known() -> None:
    plan = CoarseToFine([1, 2, 4], 16).plan(32)
    start = plan.first_target_frame
    known = {Cell(level, frame) for level in range(3) for frame in range(start)}
    for step in plan.steps:
        assert set(step.context) <= known
        assert not set(step.targets) & known
        known |= set(step.targets)


@pytest.mark.parametrize("steps", [7, 11])
@pytest.mark.parametrize("family", FAMILIES)
def test_resume_is_bit_identical(family: PlanFamily, steps: int) -> None:
    plan = family.plan(32)
    actions = torch.arange(80).reshape(2, 40) % 3
    whole = Rollout(plan, LEVELS, 20, 49, ["a", "b"], actions, seed=5)
    expected = run(whole, whole.begin([level[:, :20] for level in context(2)]))
    state = whole.begin([level[:, :20] for level in context(2)])
    first = run(whole, state, steps)
    again = Rollout(plan, LEVELS, 20, 49, ["a", "b"], actions, seed=5)
    rest = run(again, RolloutState([level.clone() for level in state.latents], state.num_done))
    assert torch.equal(torch.cat([first, rest], 1), expected)


def test_noise_depends_on_seed_and_key_not_on_the_batch() -> None:
    plan = CoarseToFine([1, 2, 4], 16).plan(32)
    truth = [level[:, :20] for level in context(2)]
    both = Rollout(plan, LEVELS, 20, 37, ["a", "b"], seed=5)
    expected = run(both, both.begin(truth))
    alone = Rollout(plan, LEVELS, 20, 37, ["b"], seed=5)
    single = run(alone, alone.begin([level[1:] for level in truth]))
    assert torch.equal(expected[1:], single)
    other = Rollout(plan, LEVELS, 20, 37, ["b"], seed=6)
    assert not torch.equal(run(other, other.begin([level[1:] for level in truth])), single)


def test_actions_reach_their_frames_and_end_as_null() -> None:
    plan = FullResolution(4).plan(32)
    seen: list[list[int]] = []

    def spy(layout: StepLayout, past: Tensor, actions: Tensor | None, noise: Tensor) -> Tensor:
        assert actions is not None
        seen.append(actions[0].tolist())
        return noise[:, layout.num_context_tokens :]

    rollout = Rollout(plan, LEVELS, 20, 23, ["a"], torch.arange(23)[None])
    for _ in rollout.run(rollout.begin(context(1)), spy):
        pass
    assert seen == [[18, 19, 20, 21], [20, 21, 22, -1]]


def test_short_context_is_an_error() -> None:
    plan = CoarseToFine([1, 2, 4], 16).plan(32)
    with pytest.raises(UserError, match="frames of context"):
        Rollout(plan, LEVELS, plan.first_target_frame - 1, 40, ["a"])
    rollout = Rollout(plan, LEVELS, 50, 60, ["a"])
    with pytest.raises(UserError, match="episode a has 5: choose"):
        rollout.begin(context(1, frames=5))


def test_gather_and_scatter_are_inverse_and_ordered() -> None:
    step = Step((Cell(2, 3), Cell(0, 1)), (Cell(1, 4), Cell(1, 5)))
    latents = context(2)
    tokens = gather_tokens(latents, step.cells, start=7)
    layout = StepLayout.of(step, LEVELS)
    assert tokens.shape[1] == layout.num_tokens == 32 + 2 + 8 + 8
    assert torch.equal(tokens[:, 0], latents[0][:, 8, 0, 0])
    assert torch.equal(tokens[:, -1], latents[1][:, 12, 1, 3])
    assert layout.token_row[-1] == 1 and layout.token_column[-1] == 3
    empty = [torch.zeros_like(level) for level in latents]
    scatter_tokens(empty, step.cells, tokens, start=7)
    assert torch.equal(gather_tokens(empty, step.cells, start=7), tokens)
    assert layout.frames.tolist() == [0, 2, 3, 4]
    assert layout.frames[layout.cell_frame].tolist() == [0, 2, 3, 4]


@pytest.mark.parametrize("family", FAMILIES)
def test_finished_frames_have_the_latents_of_each_level_that_the_plan_denoises(family: PlanFamily) -> None:
    plan = family.plan(LEVELS.num_tokens(0))
    rollout = Rollout(plan, LEVELS, 20, 37, ["a", "b"], seed=1)
    truth = context(2)
    expected = naive(rollout, truth)
    state = rollout.begin([level[:, :20] for level in truth])
    denoised = {cell.level for step in plan.steps for cell in step.targets}
    found: list[set[int]] = []
    for finished in rollout.run(state, sample):
        if not (count := finished.latents.shape[1]):
            continue
        levels = rollout.finished_levels(state, finished)
        for level, latents in enumerate(levels):
            if latents is not None:
                frames = slice(finished.start, finished.start + count)
                assert torch.allclose(latents, expected[level][:, frames], atol=1e-5)
        assert torch.equal(levels[0], finished.latents)
        found.append({level for level, latents in enumerate(levels) if latents is not None})
    assert found and all(levels <= denoised for levels in found)
    assert set.intersection(*found) == {0, *plan.coarse_levels}
    if isinstance(family, CoarseToFine):
        assert all(levels == {0, 1, 2} for levels in found)


def test_a_level_that_comes_later_or_for_some_frames_alone_is_not_kept() -> None:
    def plan(*targets: tuple[Cell, ...]) -> Plan:
        return Plan(tuple(Step((Cell(0, 0),), step) for step in targets), 32, 3, 3, 1)

    fine = (Cell(0, 1), Cell(0, 2))
    assert plan((Cell(1, 1), Cell(1, 2), Cell(2, 1)), fine).coarse_levels == (1,)
    assert plan((Cell(2, 1), Cell(2, 2)), fine, (Cell(1, 1), Cell(1, 2))).coarse_levels == (2,)
