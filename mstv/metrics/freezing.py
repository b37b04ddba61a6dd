"""Videos that stop moving while the true ones go on."""

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mstv.metrics.horizon import HorizonMetric
from mstv.metrics.pairs import check_pair, check_video

WINDOW = 8
"""Steps from frame to frame that are looked at."""
SHARE = 0.1
STILL = 0.5 / 255
"""Mean change below which the true video counts as standing still."""


def frame_change(video: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B T"]:
    """Mean absolute difference of each frame from the one before; the first frame has that of the second.

    Args:
        video: (B, T, 3, H, W) in [0, 1].

    Returns:
        (B, T) in [0, 1], units of a pixel value; 0 where there is one frame alone.

    Raises:
        ValueError: another shape, or values outside [0, 1].
    """
    check_video("video", video)
    if video.shape[1] < 2:
        return torch.zeros(video.shape[:2], device=video.device)
    # By frame: a difference of whole videos would be another copy of them.
    steps = [(after.float() - before.float()).abs().mean(dim=(1, 2, 3)) for before, after in pairwise(video.unbind(1))]
    return torch.stack([steps[0], *steps], 1)


def frozen(prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]) -> Bool[Tensor, "B T"]:
    """Whether the video has stopped at each frame.

    It has if over the last 8 steps (fewer at the beginning) it changed by less than a tenth of what the true video
    did, while that moved at all.

    Args:
        prediction: (B, T, 3, H, W) in [0, 1].
        target: the same shape and range.

    Raises:
        ValueError: shapes differ, or values outside [0, 1].
    """
    check_pair(prediction, target)
    ours, true = (_trailing_mean(frame_change(video)) for video in (prediction, target))
    return (true > STILL) & (ours < SHARE * true)


def _trailing_mean(values: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Mean over the last `WINDOW` entries up to each one."""
    sums = values.double().cumsum(1)
    before = torch.nn.functional.pad(sums, (WINDOW, 0))[:, : values.shape[1]]
    count = torch.arange(1, values.shape[1] + 1, device=values.device).clamp(max=WINDOW)
    return ((sums - before) / count).float()


class FrameFrozen(HorizonMetric):
    """Share of videos that stand still at a horizon although the true ones move; 0 or 1 for a frame.

    Videos (B, T, 3, H, W) in [0, 1], consecutive frames.
    """

    name, unit, source = "frozen", "share of frames, in [0, 1]", "mstv"
    higher_is_better = False
    temporal = True

    def measure(
        self, prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]
    ) -> Float[Tensor, "B T"]:
        """1 for a frozen frame, else 0."""
        return frozen(prediction, target).float()

    def definition(self) -> dict[str, Any]:
        """Window and thresholds, and the lower bound, which cannot be shuffled frames."""
        return {
            "window_steps": WINDOW,
            "share_of_true_change": SHARE,
            "true_change_at_least": STILL,
            "lower_bound": "the last given frame, held",
        }
