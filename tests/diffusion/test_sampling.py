"""Sampling settings: evaluations per level, context noise, guidance, refresh."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mstv.diffusion.loss import v_errors
from mstv.diffusion.sample_step import Sampling, sample_step
from mstv.diffusion.schedule import NoiseSchedule, add_noise
from mstv.errors import UserError
from mstv.rollout.layout import StepLayout
from mstv.rollout.plan import Cell, Step
from tests.diffusion.test_attention import LEVELS, STEPS, inputs, make


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nfe": 1}, "nfe must be at least 2, got 1"),
        ({"nfe": ()}, "nfe must be at least 2"),
        ({"nfe": (12, 1)}, "nfe must be at least 2"),
        ({"sampler": "euler"}, "sampler is euler, expected one of ddim, dpm_solver"),
        ({"refresh": 0}, "refresh must be at least 1"),
        ({"context_noise": 1.0}, "context_noise must lie in"),
    ],
)
def test_bad_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sampling(**settings)


@pytest.mark.parametrize(
    ("nfe", "targets", "expected"),
    [
        (7, (Cell(0, 1),), 7),
        ((4, 6, 9), (Cell(1, 1),), 6),
        ([4, 6, 9], (Cell(0, 1), Cell(2, 1)), 9),
        ((9, 2), (Cell(0, 1), Cell(1, 1)), 9),
    ],
)
def test_each_level_has_its_evaluations(nfe: int | Sequence[int], targets: tuple[Cell, ...], expected: int) -> None:
    denoiser, layout = make("isolated"), StepLayout.of(Step((Cell(0, 0),), targets), LEVELS)
    context, _, _, actions = inputs(layout)
    calls = 0
    inner = denoiser.denoise

    def counted(*arguments: object) -> Tensor:
        nonlocal calls
        calls += 1
        return inner(*arguments)  # type: ignore[arg-type]

    denoiser.denoise = counted  # type: ignore[method-assign]
    noise = torch.randn(2, layout.num_tokens, 3)
    with torch.no_grad():
        sample_step(denoiser, NoiseSchedule(), layout, context, actions, noise, Sampling(nfe))
    assert calls == expected


def test_a_level_without_evaluations_is_named() -> None:
    with pytest.raises(UserError, match="no number for level 2"):
        Sampling((4, 4)).evaluations((2,))


@torch.no_grad()
def test_context_noise_reaches_value_and_time() -> None:
    denoiser, layout, schedule = make("isolated"), StepLayout.of(STEPS[0], LEVELS), NoiseSchedule()
    context, x_t, t, actions = inputs(layout)
    noise = torch.randn(2, layout.num_tokens, 3)
    context_eps = noise[:, : layout.num_context_tokens]
    times = torch.full((2,), 0.3)
    state = denoiser.prepare(layout, add_noise(schedule, context, context_eps, times), times, actions)
    seen = []
    inner = denoiser.prepare
    denoiser.prepare = lambda *arguments: seen.append(arguments) or inner(*arguments)  # type: ignore
    results = [
        sample_step(denoiser, schedule, layout, context, actions, noise, Sampling(4, context_noise=level))
        for level in (0.3, 0.0)
    ]
    assert torch.allclose(seen[0][1], add_noise(schedule, context, context_eps, times)) and (seen[0][2] == 0.3).all()
    assert torch.allclose(seen[1][1], context, atol=1e-2) and (seen[1][2] == 0).all()
    assert not torch.allclose(*results)
    # The loss sees the same: a dropped sample stays at t = 1.
    x = torch.cat([context, x_t], 1)
    seen.clear()
    eps = noise.split([layout.num_context_tokens, layout.num_target_tokens], 1)
    v_errors(denoiser, schedule, layout, x, *eps, t, actions, torch.tensor([False, True]), times)
    assert seen[0][2].tolist() == pytest.approx([0.3, 1.0])
    assert state.past is not None


@torch.no_grad()
def test_guidance_moves_away_from_the_unconditional() -> None:
    denoiser, layout = make("joint"), StepLayout.of(STEPS[0], LEVELS)
    context, _, _, actions = inputs(layout)
    noise = torch.randn(2, layout.num_tokens, 3)

    def sample(guidance: float, refresh: int = 1) -> Tensor:
        settings = Sampling(5, guidance=guidance, refresh=refresh)
        return sample_step(denoiser, NoiseSchedule(), layout, context, actions, noise, settings)

    assert not torch.allclose(sample(1.0), sample(1.5), atol=1e-3)
    assert not torch.allclose(sample(1.5), sample(1.5, refresh=2), atol=1e-6)
