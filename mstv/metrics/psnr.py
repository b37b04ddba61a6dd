"""Peak signal-to-noise ratio of video frames."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mstv.metrics.horizon import HorizonCurve, HorizonMetric
from mstv.metrics.pairs import per_frame

MAX_PSNR = 100.0
"""dB given to identical frames, whose PSNR is infinite: a mean needs a number. Frames of 64x64 that differ by one
8-bit step in a single value have 89 dB."""


def psnr_of_mse(mse: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """PSNR in dB of a mean squared error of values in [0, 1]: -10 log10(mse), at most `MAX_PSNR`."""
    return (-10 * torch.log10(mse)).clamp(max=MAX_PSNR)


def frame_mse(prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]) -> Float[Tensor, "B T"]:
    """Mean squared error of each frame over channels and pixels, in float32.

    Args:
        prediction: (B, T, 3, H, W) in [0, 1].
        target: the same shape and range.

    Raises:
        ValueError: shapes differ or values outside [0, 1].
    """
    return per_frame(lambda a, b: (a - b).square().mean(dim=(1, 2, 3)), prediction, target)


def frame_psnr(prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]) -> Float[Tensor, "B T"]:
    """PSNR of each frame in dB, peak 1, at most `MAX_PSNR`; arguments and errors as `frame_mse`."""
    return psnr_of_mse(frame_mse(prediction, target))


class FramePSNR(HorizonMetric):
    """Mean PSNR of frames by horizon, and beside it the PSNR of the squared error pooled over the frames.

    Videos (B, T, 3, H, W) in [0, 1]; values in dB, at most `MAX_PSNR`. The mean of dB is what papers report; the
    pooled value does not let a few nearly identical frames dominate.
    """

    name, unit = "psnr", "dB, at most 100"
    source = "peak signal-to-noise ratio, peak 1, over RGB"
    squared_error: Tensor

    def __init__(self, max_horizon: int = 1024) -> None:
        super().__init__(max_horizon)
        self.add_state("squared_error", torch.zeros(max_horizon), dist_reduce_fx="sum")

    def measure(
        self, prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]
    ) -> Float[Tensor, "B T"]:
        """PSNR of each frame in dB."""
        return frame_psnr(prediction, target)

    def definition(self) -> dict[str, Any]:
        """The pooled value, and the cap."""
        return {
            "aggregation": "mean of per-frame PSNR over frames at the same horizon; PSNR of the pooled error beside it",
            "identical_frames": MAX_PSNR,
        }

    def _accumulate(self, index: Int[Tensor, " T"], values: Float[Tensor, "B T"]) -> None:
        super()._accumulate(index, values)
        self.squared_error.index_add_(0, index, (10 ** (-values / 10)).sum(0).to(self.squared_error))

    def compute(self) -> HorizonCurve:
        """The curve with `pooled` filled in."""
        seen = self.count > 0
        pooled = psnr_of_mse(self.squared_error[seen] / self.count[seen])
        return super().compute()._replace(pooled=pooled.cpu().numpy())
