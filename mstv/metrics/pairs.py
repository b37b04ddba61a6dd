"""Pairs of videos in [0, 1]: the one check of what a metric is given, and slices that bound its memory."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

PIXELS_PER_SLICE = 2**20
"""Pixels (frames x H x W) that are worked on at once: 16 frames of 256x256, about 150 MB inside SSIM."""


def check_pair(prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]) -> None:
    """Raise ValueError unless both videos have one shape (B, T, 3, H, W) and values in [0, 1] (a NaN is outside)."""
    if prediction.shape != target.shape or prediction.ndim != 5 or prediction.shape[2] != 3:
        raise ValueError(
            f"prediction is {tuple(prediction.shape)} and target {tuple(target.shape)}: "
            "both must be (B, T, 3, H, W), the same"
        )
    for name, video in (("prediction", prediction), ("target", target)):
        if video.numel():
            low, high = (bound.item() for bound in video.aminmax())
            if not (low >= 0 and high <= 1):
                raise ValueError(f"{name} has values in [{low:g}, {high:g}], outside [0, 1]: clamp it before measuring")


def per_frame(
    measure: Callable[[Tensor, Tensor], Tensor],
    prediction: Float[Tensor, "B T 3 H W"],
    target: Float[Tensor, "_ _ 3 _ _"],
) -> Float[Tensor, "B T"]:
    """Apply `measure` ((N, 3, H, W) twice -> (N,)) in float32 to slices of frames.

    Autocast and TF32 are off inside: SSIM subtracts squares of means that nearly cancel, and is wrong in either.

    Raises:
        ValueError: see `check_pair`.
    """
    check_pair(prediction, target)
    batch, time = prediction.shape[:2]
    frames_per_slice = max(1, PIXELS_PER_SLICE // (prediction.shape[-2] * prediction.shape[-1]))
    values = torch.empty(batch, time, device=prediction.device)
    cudnn = torch.backends.cudnn
    with torch.autocast(prediction.device.type, enabled=False), cudnn.flags(cudnn.enabled, allow_tf32=False):
        for row in range(batch):
            for start in range(0, time, frames_per_slice):
                part = slice(start, start + frames_per_slice)
                values[row, part] = measure(prediction[row, part].float(), target[row, part].float())
    return values
