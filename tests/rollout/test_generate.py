"""Rollout: every frame filled once, context kept, noise keyed, resume and batching change nothing."""

import pytest
import torch
from torch import Tensor

from mstv.errors import UserError
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.full_resolution import FullResolution
from mstv.rollout.generate import Rollout, RolloutState
from mstv.rollout.layout import StepLayout, gather_tokens, scatter_tokens
from mstv.rollout.plan import Cell, PlanFamily, Step

LEVELS = Levels((16, 32), (4, 4), 3)
FAMILIES = [CoarseToFine([1, 2, 4], 16), FullResolution(4)]


def context(batch: int, frames: int = 40) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, frames, *LEVELS.grid(level), 3, generator=generator) for level in range(3)]


def sample(layout: StepLayout, seen: Tensor, actions: Tensor | None, noise: Tensor) -> Tensor:
    """A stand-in model that depends on everything it is given."""
    targets = noise[:, layout.num_context_tokens :]
    bias = seen.mean((1, 2)) + (0 if actions is None else actions.float().flatten(1).mean(1))
    return torch.tanh(targets + bias[:, None, None])


def run(rollout: Rollout, state: RolloutState, steps: int | None = None) -> RolloutState:
    for done, _ in enumerate(rollout.run(state, sample), 1):
        if done == steps:
            break
    return state


@pytest.mark.parametrize("family", FAMILIES)
def test_every_level_0_frame_is_generated_and_context_is_kept(family: PlanFamily) -> None:
    plan = family.plan(LEVELS.num_tokens(0))
    rollout = Rollout(plan, LEVELS, 20, 37, ["a", "b"])
    truth = context(2)
    state = run(rollout, rollout.begin(truth))
    assert state.num_done == rollout.num_steps == len(plan.steps) * len(rollout.chunks.starts)
    assert rollout.chunks.end >= 37
    for level in range(plan.num_levels):
        assert torch.equal(state.latents[level][:, :20], truth[level][:, :20])
    assert (state.latents[0][:, 20:37].abs().amax((2, 3, 4)) > 0).all()


def test_steps_condition_only_on_what_is_known() -> None:
    plan = CoarseToFine([1, 2, 4], 16).plan(32)
    start = plan.first_target_frame
    known = {Cell(level, frame) for level in range(3) for frame in range(start)}
    for step in plan.steps:
        assert set(step.context) <= known
        assert not set(step.targets) & known
        known |= set(step.targets)


def test_resume_is_bit_identical() -> None:
    plan = CoarseToFine([1, 2, 4], 16).plan(32)
    actions = torch.arange(80).reshape(2, 40) % 3
    whole = Rollout(plan, LEVELS, 20, 37, ["a", "b"], actions, seed=5)
    expected = run(whole, whole.begin(context(2)))
    first = run(whole, whole.begin(context(2)), steps=11)
    again = Rollout(plan, LEVELS, 20, 37, ["a", "b"], actions, seed=5)
    resumed = run(again, RolloutState([level.clone() for level in first.latents], first.num_done))
    for a, b in zip(expected.latents, resumed.latents, strict=True):
        assert torch.equal(a, b)


def test_noise_depends_on_seed_and_key_not_on_the_batch() -> None:
    plan = CoarseToFine([1, 2, 4], 16).plan(32)
    both = Rollout(plan, LEVELS, 20, 37, ["a", "b"], seed=5)
    expected = run(both, both.begin(context(2)))
    alone = Rollout(plan, LEVELS, 20, 37, ["b"], seed=5)
    single = run(alone, alone.begin([level[1:] for level in context(2)]))
    assert torch.equal(expected.latents[0][1:], single.latents[0])
    other = Rollout(plan, LEVELS, 20, 37, ["b"], seed=6)
    assert not torch.equal(run(other, other.begin([level[1:] for level in context(2)])).latents[0], single.latents[0])


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
    with pytest.raises(UserError, match="episode a has 40"):
        rollout.begin(context(1))


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
