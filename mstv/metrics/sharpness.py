"""Sharpness of frames, and how it drifts from that of the true frames."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mstv.metrics.horizon import HorizonMetric
from mstv.metrics.pairs import check_pair, check_video

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the brightness of Rec. 601."""
FLOOR = (1 / 255) ** 2
"""Added to both sides of the ratio: sharpness below one 8-bit step is that of a flat frame."""


def frame_sharpness(video: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B T"]:
    """Variance of the Laplacian of each frame's brightness (Pech-Pacheco et al. 2000).

    The 5-point Laplacian, where it lies wholly inside the frame.

    Args:
        video: (B, T, 3, H, W) in [0, 1], H and W at least 3.

    Returns:
        (B, T), from 0 (flat); squared units of a pixel value.

    Raises:
        ValueError: another shape, or values outside [0, 1].
    """
    check_video("video", video)
    luma = sum(weight * video[:, :, channel].float() for channel, weight in enumerate(LUMA))
    assert isinstance(luma, Tensor)
    neighbours = luma[..., :-2, 1:-1] + luma[..., 2:, 1:-1] + luma[..., 1:-1, :-2] + luma[..., 1:-1, 2:]
    return (neighbours - 4 * luma[..., 1:-1, 1:-1]).var(dim=(-2, -1), unbiased=False)


class FrameSharpness(HorizonMetric):
    """Drift of sharpness by horizon: log2 of each frame's sharpness over that of the true frame.

    Videos (B, T, 3, H, W) in [0, 1]; 0 is as sharp as the truth, -1 has half its variance of the Laplacian (blurred),
    +1 twice as much (noisy, or edges that do not belong there).
    """

    name, unit, source = "sharpness", "log2 of the ratio to the true frame", "Pech-Pacheco et al. 2000"
    higher_is_better = None

    def measure(
        self, prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]
    ) -> Float[Tensor, "B T"]:
        """Log2 ratio of each frame."""
        check_pair(prediction, target)
        return torch.log2((frame_sharpness(prediction) + FLOOR) / (frame_sharpness(target) + FLOOR))

    def definition(self) -> dict[str, Any]:
        """The filter and the floor."""
        return {"filter": "5-point Laplacian of Rec. 601 brightness", "floor": FLOOR}
