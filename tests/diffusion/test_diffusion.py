"""Properties of schedule, sampler, embeddings of actions, and conditioning."""

import math

import pytest
import torch
from torch import Tensor

from mstv.diffusion.denoiser import ActionEmbedding, Denoiser
from mstv.diffusion.schedule import NoiseSchedule, add_noise, from_v, v_target
from mstv.levels import Levels
from mstv.rollout.layout import StepLayout
from mstv.rollout.plan import Cell, Step
from mstv.transformer.size import TransformerSize

SCHEDULE = NoiseSchedule()


def test_v_inverts() -> None:
    x, eps = torch.randn(2, 4, 5, 3, dtype=torch.float64).unbind(0)
    t = torch.linspace(0, 1, 4, dtype=torch.float64)
    back = from_v(SCHEDULE, add_noise(SCHEDULE, x, eps, t), v_target(SCHEDULE, x, eps, t), t)
    assert torch.allclose(back[0], x) and torch.allclose(back[1], eps)


def test_schedule_ends_and_conserves_variance() -> None:
    level = SCHEDULE.level(torch.linspace(0, 1, 33, dtype=torch.float64))
    assert torch.allclose(level.alpha**2 + level.sigma**2, torch.ones(33, dtype=torch.float64))
    assert level.sigma[0] == pytest.approx(math.exp(-7.5), rel=1e-6)
    assert (level.sigma.diff() > 0).all()


@pytest.mark.parametrize(
    ("kind", "actions", "null"),
    [
        ("discrete", torch.tensor([[0, 2, -1]]), torch.tensor([[-1, -1, -1]])),
        ("vector", torch.randn(1, 3, 4), torch.zeros(1, 3, 4)),
    ],
)
def test_null_and_dropped_actions_add_zero(kind: str, actions: Tensor, null: Tensor) -> None:
    embedding = ActionEmbedding(kind, 4, 8)
    assert embedding(actions)[:, :2].abs().sum() > 0
    assert embedding(null).abs().sum() == 0
    assert embedding(actions, torch.tensor([True])).abs().sum() == 0
    with pytest.raises(ValueError, match="nonesuch"):
        ActionEmbedding("nonesuch", 4, 8)


def trained_looking_denoiser() -> Denoiser:
    torch.manual_seed(0)
    denoiser = Denoiser(3, 2, TransformerSize(24, 2, 2), "discrete", 3)
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return denoiser.eval()


@torch.no_grad()
def test_samples_of_a_batch_do_not_mix_and_conditions_matter() -> None:
    denoiser = trained_looking_denoiser()
    layout = StepLayout.of(Step((Cell(0, 0), Cell(1, 1)), (Cell(0, 1),)), Levels((8, 8), (4, 4), 2))
    context, x_t = torch.randn(2, 5, 3), torch.randn(2, 4, 3)
    actions = torch.tensor([[0, 1], [2, 0]])

    def v(context: Tensor, x_t: Tensor, actions: Tensor, t: Tensor) -> Tensor:
        return denoiser.denoise(denoiser.prepare(layout, context, torch.zeros(len(t)), actions), x_t, t)

    t = torch.tensor([0.3, 0.8])
    both = v(context, x_t, actions, t)
    alone = v(context[1:], x_t[1:], actions[1:], t[1:])
    assert torch.allclose(both[1:], alone, atol=1e-5)
    assert not torch.allclose(v(context, x_t, actions.flip(1), t), both, atol=1e-3)
    assert not torch.allclose(v(context + 1, x_t, actions, t), both, atol=1e-3)
    assert not torch.allclose(v(context, x_t, actions, t / 2), both, atol=1e-3)


@torch.no_grad()
def test_only_frame_differences_matter() -> None:
    denoiser = trained_looking_denoiser()
    levels = Levels((8, 8), (4, 4), 2)
    results = []
    for shift in (0, 11):
        step = Step((Cell(0, shift), Cell(1, shift + 1)), (Cell(0, shift + 1),))
        layout = StepLayout.of(step, levels)
        state = denoiser.prepare(layout, torch.ones(1, 5, 3), torch.zeros(1), torch.tensor([[0, 1]]))
        results.append(denoiser.denoise(state, torch.ones(1, 4, 3), torch.tensor([0.5])))
    assert torch.equal(*results)
