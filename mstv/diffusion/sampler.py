"""Samplers: functions of (schedule, number of evaluations, denoise, noise) that know no tokens."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mstv.diffusion.schedule import NoiseSchedule

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, N, C), t (B,)) -> v (B, N, C)."""
Sampler = Callable[[NoiseSchedule, int, Denoise, Tensor], Tensor]


def ddim(schedule: NoiseSchedule, nfe: int, denoise: Denoise, noise: Float[Tensor, "B N C"]) -> Float[Tensor, "B N C"]:
    """Deterministic DDIM over t = linspace(1, 0, nfe), both ends included (the published sampler); first order.

    Args:
        schedule: noise schedule.
        nfe: number of denoiser evaluations, at least 2.
        denoise: predicts v.
        noise: the drawn eps.

    Raises:
        ValueError: `nfe` is below 2.
    """
    if nfe < 2:
        raise ValueError(f"nfe must be at least 2, got {nfe}")
    x, eps = torch.zeros_like(noise), noise
    for t, alpha, sigma in _scales(schedule, nfe):
        x_t = alpha * x + sigma * eps
        v = denoise(x_t, _times(t, noise)).to(x_t.dtype)
        x, eps = alpha * x_t - sigma * v, alpha * v + sigma * x_t
    return x


def dpm_solver(
    schedule: NoiseSchedule, nfe: int, denoise: Denoise, noise: Float[Tensor, "B N C"]
) -> Float[Tensor, "B N C"]:
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2) over t = linspace(1, 0, nfe + 1); second order.

    With lambda = ln(alpha / sigma), h_i = lambda_{i+1} - lambda_i, r_i = h_{i-1} / h_i and x_i the data predicted at
    t_i:
    D_i = x_i + (x_i - x_{i-1}) / (2 r_i),
    x_{t_{i+1}} = sigma_{i+1} / sigma_i x_{t_i} - alpha_{i+1} (e^{-h_i} - 1) D_i.
    The first step has no past; the last one, much longer in lambda than the one before, must not extrapolate: both are
    of first order, D_i = x_i, which leaves the solver's order as it is.

    Args:
        schedule: noise schedule.
        nfe: number of denoiser evaluations, at least 2; the end t = 0 takes none.
        denoise: predicts v.
        noise: the drawn eps.

    Raises:
        ValueError: `nfe` is below 2.
    """
    if nfe < 2:
        raise ValueError(f"nfe must be at least 2, got {nfe}")
    scales = _scales(schedule, nfe + 1)
    # Targets start as at t = 1 with x = 0, as in DDIM.
    x_t = scales[0][2] * noise
    before: tuple[Tensor, float] | None = None
    for index in range(nfe):
        (t, alpha, sigma), (_, next_alpha, next_sigma) = scales[index : index + 2]
        x = alpha * x_t - sigma * denoise(x_t, _times(t, noise)).to(x_t.dtype)
        h = math.log(next_alpha / next_sigma) - math.log(alpha / sigma)
        data = x
        if before is not None and index < nfe - 1:
            last_x, last_h = before
            data = x + (x - last_x) * (h / (2 * last_h))
        x_t = next_sigma / sigma * x_t - next_alpha * math.expm1(-h) * data
        before = x, h
    return x_t


def _scales(schedule: NoiseSchedule, count: int) -> list[tuple[float, float, float]]:
    """(t, alpha, sigma) at linspace(1, 0, count): plain numbers, so that no device is waited for inside the loop."""
    t = torch.linspace(1, 0, count, dtype=torch.float64)
    alpha, sigma = schedule.level(t)
    return list(zip(t.tolist(), alpha.tolist(), sigma.tolist(), strict=True))


def _times(t: float, like: Tensor) -> Float[Tensor, " B"]:
    return torch.full((len(like),), t, device=like.device)


SAMPLERS: dict[str, Sampler] = {"ddim": ddim, "dpm_solver": dpm_solver}
