"""Norms that keep for the backward pass what a GPU's keep, on any machine."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def keep_like_a_gpu(module: nn.Module) -> None:
    """Make the norms of a module without values keep what they do on a GPU.

    There autocast computes norms in fp32, and RMSNorm is one kernel that keeps its input and one number a row. On a CPU
    autocast leaves norms alone, and RMSNorm is many operations that each keep something. All else of a training step
    keeps the same on both.
    """
    for part in module.modules():
        if isinstance(part, nn.RMSNorm):
            part.forward = partial(_rms_norm, part)  # type: ignore[method-assign]
        elif isinstance(part, nn.LayerNorm):
            part.forward = partial(_layer_norm, part)  # type: ignore[method-assign]


def _rms_norm(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    return _FusedRMSNorm.apply(_input(x), norm.weight)


def _layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return nn.LayerNorm.forward(norm, _input(x))


def _input(x: Tensor) -> Tensor:
    return x.float() if torch.is_autocast_enabled("cpu") else x


class _FusedRMSNorm(torch.autograd.Function):
    """Sizes and dtypes of RMSNorm with a weight, not its values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, torch.empty(x.shape[:-1], dtype=torch.float32, device=x.device))
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, _ = ctx.saved_tensors
        return torch.empty_like(x), torch.empty_like(weight)
