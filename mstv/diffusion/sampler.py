"""Samplers: functions of (schedule, number of evaluations, denoise, noise) that know no tokens."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mstv.diffusion.schedule import NoiseSchedule, add_noise, from_v

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, N, C), t (B,)) -> v (B, N, C)."""
Sampler = Callable[[NoiseSchedule, int, Denoise, Tensor], Tensor]


def ddim(schedule: NoiseSchedule, nfe: int, denoise: Denoise, noise: Float[Tensor, "B N C"]) -> Float[Tensor, "B N C"]:
    """Deterministic DDIM over t = linspace(1, 0, nfe), both ends included (the published sampler).

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
    for t in torch.linspace(1, 0, nfe, device=noise.device):
        times = t.expand(len(noise))
        x_t = add_noise(schedule, x, eps, times)
        x, eps = from_v(schedule, x_t, denoise(x_t, times).to(x_t.dtype), times)
    return x


SAMPLERS: dict[str, Sampler] = {"ddim": ddim}
