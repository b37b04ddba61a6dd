"""The noise schedule: shifted cosine in logSNR, v-prediction."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

LOGSNR_LIMIT = 15.0
"""logSNR spans [-15, 15] before the shift."""


class Level(NamedTuple):
    """Signal and noise scale of x_t = alpha x + sigma eps."""

    alpha: Tensor
    sigma: Tensor


@dataclass(frozen=True)
class NoiseSchedule:
    """logSNR(t) = -2 ln tan(a + t (b - a)) + 2 ln(shift); t = 0 is data, t = 1 is noise.

    Args:
        shift: > 0; below 1 moves the mass towards noise.
    """

    shift: float = 1.0

    def logsnr(self, t: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """Log signal-to-noise ratio at times in [0, 1]."""
        a = math.atan(math.exp(-LOGSNR_LIMIT / 2))
        b = math.atan(math.exp(LOGSNR_LIMIT / 2))
        return -2 * torch.log(torch.tan(a + t * (b - a))) + 2 * math.log(self.shift)

    def level(self, t: Float[Tensor, "*B"]) -> Level:
        """(alpha, sigma) at times in [0, 1], in at least fp32 whatever the autocast; alpha^2 + sigma^2 = 1."""
        logsnr = self.logsnr(t.float() if t.dtype in (torch.float16, torch.bfloat16) else t)
        return Level(logsnr.sigmoid().sqrt(), (-logsnr).sigmoid().sqrt())


def _broadcast(t: Tensor, x: Tensor) -> Tensor:
    return t[(...,) + (None,) * (x.ndim - t.ndim)]


def add_noise(schedule: NoiseSchedule, x: Tensor, eps: Tensor, t: Float[Tensor, "*B"]) -> Tensor:
    """x_t = alpha x + sigma eps; `t` has the leading dimensions of `x`."""
    alpha, sigma = schedule.level(_broadcast(t, x))
    return alpha * x + sigma * eps


def v_target(schedule: NoiseSchedule, x: Tensor, eps: Tensor, t: Float[Tensor, "*B"]) -> Tensor:
    """v = alpha eps - sigma x."""
    alpha, sigma = schedule.level(_broadcast(t, x))
    return alpha * eps - sigma * x


def from_v(schedule: NoiseSchedule, x_t: Tensor, v: Tensor, t: Float[Tensor, "*B"]) -> tuple[Tensor, Tensor]:
    """(x, eps) that `v` predicts at `x_t`: x = alpha x_t - sigma v, eps = alpha v + sigma x_t."""
    alpha, sigma = schedule.level(_broadcast(t, x_t))
    return alpha * x_t - sigma * v, alpha * v + sigma * x_t
