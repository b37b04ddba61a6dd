"""Samplers against the exact denoiser of data that is a mixture of Gaussians."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from mstv.diffusion.sampler import SAMPLERS, Sampler, ddim, dpm_solver
from mstv.diffusion.schedule import NoiseSchedule, v_target

MEANS = torch.tensor([[-0.8, 0.3], [0.5, 0.6], [0.2, -0.7]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
DEVIATION = 0.5


def exact_v(schedule: NoiseSchedule, x_t: Tensor, t: Tensor) -> Tensor:
    """v of E[x | x_t] for x ~ sum_k w_k N(mean_k, deviation^2)."""
    alpha, sigma = (value[:, None, None] for value in schedule.level(t.double()))
    variance = alpha**2 * DEVIATION**2 + sigma**2
    away = x_t[..., None, :] - alpha[..., None] * MEANS
    responsibility = (WEIGHTS.log() - away.square().sum(-1) / (2 * variance)).softmax(-1)
    component = MEANS + (alpha * DEVIATION**2 / variance)[..., None] * away
    x = (responsibility[..., None] * component).sum(-2)
    return v_target(schedule, x, (x_t - alpha * x) / sigma, t.double())


def sample(sampler: Sampler, nfe: int, shift: float) -> Tensor:
    schedule = NoiseSchedule(shift)
    noise = torch.randn(16, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return sampler(schedule, nfe, lambda x_t, t: exact_v(schedule, x_t, t), noise)


@pytest.mark.parametrize("shift", [1.0, 0.5])
@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("dpm_solver", 2)])
def test_error_falls_with_the_order(name: str, order: int, shift: float) -> None:
    limit = sample(dpm_solver, 6400, shift)
    errors = [(sample(SAMPLERS[name], nfe, shift) - limit).square().mean().sqrt() for nfe in (400, 800, 1600)]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    # The first and last steps, long in lambda, delay the second order: its slope is 1.8 here and grows.
    assert all(slope == pytest.approx(order, abs=0.27) for slope in slopes), slopes


def test_both_samplers_have_the_same_limit() -> None:
    assert torch.allclose(sample(ddim, 5000, 1.0), sample(dpm_solver, 800, 1.0), atol=2e-3)


def test_the_second_order_is_worth_it_at_few_evaluations() -> None:
    limit = sample(dpm_solver, 1600, 1.0)
    error = {(name, nfe): (sample(SAMPLERS[name], nfe, 1.0) - limit).std() for name in SAMPLERS for nfe in (12, 50)}
    assert error["dpm_solver", 12] < error["ddim", 50]


@pytest.mark.parametrize("sampler", SAMPLERS.values())
def test_a_point_mass_is_recovered(sampler: Sampler) -> None:
    schedule, target = NoiseSchedule(), torch.randn(3, 7, 2)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = schedule.level(t[:, None, None])
        return v_target(schedule, target, (x_t - alpha * target) / sigma, t)

    assert torch.allclose(sampler(schedule, 8, denoise, torch.randn(3, 7, 2)), target, atol=3e-3)
    with pytest.raises(ValueError, match="nfe"):
        sampler(schedule, 1, denoise, torch.randn(3, 7, 2))


@pytest.mark.parametrize("sampler", SAMPLERS.values())
@pytest.mark.parametrize("nfe", [2, 3, 12])
def test_so_many_evaluations_are_made(sampler: Sampler, nfe: int) -> None:
    times: list[float] = []

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        times.append(float(t[0]))
        return x_t

    sampler(NoiseSchedule(), nfe, denoise, torch.randn(2, 3, 1))
    assert len(times) == nfe and times[0] == 1 and times == sorted(times, reverse=True)
