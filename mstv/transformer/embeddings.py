"""Position and time embeddings, all of them fixed sines and cosines."""

import math

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn


def _sin_cos(position: Shaped[Tensor, "*N"], num_frequencies: int) -> Float[Tensor, "*N W"]:
    """concat(sin, cos) of position * omega_k, omega_k = 10000^(-k / (m - 1)), k = 0..m-1."""
    exponent = torch.arange(num_frequencies, device=position.device) / max(num_frequencies - 1, 1)
    angle = position.float()[..., None] * 10000.0**-exponent
    return torch.cat([angle.sin(), angle.cos()], -1)


def position_2d(row: Int[Tensor, " N"], column: Int[Tensor, " N"], width: int) -> Float[Tensor, "N {width}"]:
    """Position on a token's own grid: the column's sines and cosines, then the row's.

    Raises:
        ValueError: `width` is not divisible by 4.
    """
    if width % 4:
        raise ValueError(f"a 2-D position needs a width divisible by 4, got {width}")
    return torch.cat([_sin_cos(column, width // 4), _sin_cos(row, width // 4)], -1)


def position_3d(
    frame: Int[Tensor, " N"], row: Int[Tensor, " N"], column: Int[Tensor, " N"], width: int
) -> Float[Tensor, "N {width}"]:
    """Position in a step: sines and cosines of frame, row and column, zero-padded to `width`."""
    parts = [_sin_cos(position, width // 6) for position in (frame, row, column)]
    embedding = torch.cat(parts, -1)
    return nn.functional.pad(embedding, (0, width - embedding.shape[-1]))


class TimeEmbedding(nn.Module):
    """Diffusion time in [0, 1], shape (...), to a vector (..., dim) by 128 frequencies and a two-layer MLP."""

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.exp(-math.log(10000) * torch.linspace(0, 1, 128)), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(256, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Float[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """Embed times in [0, 1]."""
        angle = 1000 * t[..., None].float() * self.frequencies
        return self.mlp(torch.cat([angle.cos(), angle.sin()], -1))
