"""Latents brought to mean 0 and variance 1, level by level."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class LatentScaling(nn.Module):
    """Subtracts the mean of each channel and divides by the scale of the level; the identity until `set` is called.

    The noise schedule takes for granted that signal and noise are of one size. Latents of a tanh have a variance well
    below 1, around means that are not 0: from v = alpha eps - sigma x, the loss then hardly depends on x where the
    noise is strong, which is where a model must remember.

    Args:
        num_levels: L.
        channels: C.
    """

    mean: Float[Tensor, "L C"]
    scale: Float[Tensor, " L"]

    def __init__(self, num_levels: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_levels, channels))
        self.register_buffer("scale", torch.ones(num_levels))

    def set(self, mean: Float[Tensor, "L C"], scale: Float[Tensor, " L"]) -> None:
        """Take the statistics of a set; see `mstv.data.latent_statistics`."""
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def normalise(self, tokens: Float[Tensor, "B N C"], levels: Int[Tensor, " N"]) -> Float[Tensor, "B N C"]:
        """Tokens of the given levels, normalised."""
        return (tokens - self.mean[levels]) / self.scale[levels, None]

    def restore(self, tokens: Float[Tensor, "B N C"], levels: Int[Tensor, " N"]) -> Float[Tensor, "B N C"]:
        """The inverse of `normalise`."""
        return tokens * self.scale[levels, None] + self.mean[levels]
