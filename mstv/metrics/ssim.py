"""Structural similarity of video frames."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mstv.metrics.horizon import HorizonMetric
from mstv.metrics.pairs import per_frame

WINDOW = 11
"""Pixels a side of the Gaussian window, and so the smallest height and width."""
SIGMA = 1.5
K1, K2 = 0.01, 0.03


def _averaging(size: int, device: torch.device) -> Float[Tensor, "valid size"]:
    """The window along one axis as a banded matrix, rows = positions at which it lies wholly inside the image."""
    axis = torch.arange(WINDOW, dtype=torch.float64, device=device) - WINDOW // 2
    window = torch.exp(-axis.square() / (2 * SIGMA**2))
    matrix = torch.zeros(size - WINDOW + 1, size, dtype=torch.float64, device=device)
    for offset, weight in enumerate(window / window.sum()):
        matrix.diagonal(offset).fill_(weight.item())
    return matrix


def _ssim(prediction: Float[Tensor, "N 3 H W"], target: Float[Tensor, "N 3 H W"]) -> Float[Tensor, " N"]:
    # float64: a variance is the difference of two nearly equal means, which float32 gets wrong by about 1e-3 of SSIM
    # in flat, bright areas.
    a, b = prediction.double(), target.double()
    rows, columns = (_averaging(size, a.device) for size in a.shape[-2:])
    mean_a, mean_b, square_a, square_b, product = (rows @ x @ columns.T for x in (a, b, a * a, b * b, a * b))
    variances = square_a - mean_a.square() + square_b - mean_b.square()
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + K1**2) / (mean_a.square() + mean_b.square() + K1**2)
    return (luminance * (2 * covariance + K2**2) / (variances + K2**2)).mean(dim=(1, 2, 3))


def frame_ssim(prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]) -> Float[Tensor, "B T"]:
    """SSIM of each frame: Gaussian window of 11 pixels, sigma 1.5, data range 1, mean over RGB.

    As published (Wang et al. 2004) the mean is over windows that lie wholly inside the frame; scikit-image does the
    same, while torchmetrics reflects the border.

    Args:
        prediction: (B, T, 3, H, W) in [0, 1], H and W at least 11.
        target: the same shape and range.

    Returns:
        (B, T) in [-1, 1]; 1 for identical frames.

    Raises:
        ValueError: shapes differ, frames are too small, or values outside [0, 1].
    """
    if min(prediction.shape[-2:]) < WINDOW:
        raise ValueError(f"frames are {tuple(prediction.shape[-2:])}: SSIM needs at least {WINDOW} pixels a side")
    return per_frame(_ssim, prediction, target)


class FrameSSIM(HorizonMetric):
    """Mean SSIM of frames by horizon (Wang et al. 2004); videos (B, T, 3, H, W) in [0, 1], values in [-1, 1]."""

    name, unit = "ssim", "in [-1, 1]"
    version = 2  # 1 averaged over windows that were reflected at the border
    source = "Wang et al. 2004"

    def measure(
        self, prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]
    ) -> Float[Tensor, "B T"]:
        """SSIM of each frame."""
        return frame_ssim(prediction, target)

    def definition(self) -> dict[str, Any]:
        """The window and the constants."""
        return {"window": f"Gaussian {WINDOW}x{WINDOW}, sigma {SIGMA}, inside the frame", "k1": K1, "k2": K2}
