"""Structural similarity of video frames."""

from jaxtyping import Float
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from mstv.metrics.horizon import HorizonMetric
from mstv.metrics.pairs import per_frame

MIN_SIDE = 6
"""Smallest height and width in pixels: the 11-pixel window is reflected 5 pixels at the border."""


def _ssim(prediction: Float[Tensor, "N 3 H W"], target: Float[Tensor, "N 3 H W"]) -> Float[Tensor, " N"]:
    values = structural_similarity_index_measure(prediction, target, data_range=1.0, reduction="none")
    assert isinstance(values, Tensor)  # a tuple only where the full image is asked for
    return values


def frame_ssim(prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]) -> Float[Tensor, "B T"]:
    """SSIM of each frame (Wang et al. 2004: Gaussian window of 11, sigma 1.5, data range 1), mean over RGB.

    float32 rounding moves the value of flat, bright areas by up to about 1e-3.

    Args:
        prediction: (B, T, 3, H, W) in [0, 1], H and W at least 6.
        target: the same shape and range.

    Returns:
        (B, T) in [-1, 1]; 1 for identical frames.

    Raises:
        ValueError: shapes differ, frames are too small, or values outside [0, 1].
    """
    if min(prediction.shape[-2:]) < MIN_SIDE:
        raise ValueError(f"frames are {tuple(prediction.shape[-2:])}: SSIM needs at least {MIN_SIDE} pixels a side")
    return per_frame(_ssim, prediction, target)


class FrameSSIM(HorizonMetric):
    """Mean SSIM of frames by horizon."""

    def measure(
        self, prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]
    ) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"] | None]:
        """SSIM of each frame; nothing to pool."""
        return frame_ssim(prediction, target), None
