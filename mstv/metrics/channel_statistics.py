"""Mean and deviation of channels, and how far two sets of them are apart."""

import torch
from jaxtyping import Float
from torch import Tensor


def channel_statistics(values: Float[Tensor, "B T C N"]) -> Float[Tensor, "B T 2 C"]:
    """Mean, then standard deviation, of the N values of each channel of each frame."""
    deviation, mean = torch.std_mean(values.float(), dim=-1, unbiased=False)
    return torch.stack([mean, deviation], 2)


def statistics_distance(a: Float[Tensor, "B T 2 C"], b: Float[Tensor, "B T 2 C"]) -> Float[Tensor, "B T"]:
    """2-Wasserstein distance of normal distributions with these statistics, root mean square over channels."""
    return (a - b).square().sum(2).mean(2).sqrt()
