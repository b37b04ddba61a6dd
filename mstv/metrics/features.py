"""What a Frechet distance needs of a network."""

from torch import nn

from mstv.metrics.weights import WeightFile


class Features(nn.Module):
    """A network from frames (N, 3, H, W), or from clips (N, T, 3, H, W), in [0, 1] to features (N, num_features)."""

    num_features: int
    name: str
    """For metric cards."""
    resize: str
    """What it does to frames before it looks at them."""
    file: WeightFile | None = None
    """Where its weights came from; None for random ones."""
