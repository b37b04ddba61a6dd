"""Pairs of videos in [0, 1]: the one check of what a metric is given, and slices that bound its memory."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

PIXELS_PER_SLICE = 2**20
"""Pixels (frames x H x W) that are worked on at once: 16 frames of 256x256, about 300 MB inside SSIM."""


def check_pair(prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]) -> None:
    """Raise ValueError unless both videos have one shape (B, T, 3, H, W) and values in [0, 1] (a NaN is outside)."""
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction is {tuple(prediction.shape)} and target {tuple(target.shape)}: "
            "both must be (B, T, 3, H, W), the same"
        )
    check_video("prediction", prediction)
    check_video("target", target)


def check_video(name: str, video: Float[Tensor, "B T 3 H W"]) -> None:
    """Raise ValueError unless a video has the shape (B, T, 3, H, W) and values in [0, 1] (a NaN is outside)."""
    if video.ndim != 5 or video.shape[2] != 3:
        raise ValueError(f"{name} is {tuple(video.shape)}, it must be (B, T, 3, H, W)")
    if video.numel():
        low, high = (bound.item() for bound in video.aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"{name} has values in [{low:g}, {high:g}], outside [0, 1]: clamp it before measuring")


def per_frame(
    measure: Callable[[Tensor, Tensor], Tensor],
    prediction: Float[Tensor, "B T 3 H W"],
    target: Float[Tensor, "_ _ 3 _ _"],
    frame_pixels: int | None = None,
) -> Float[Tensor, "B T"]:
    """Apply `measure` ((N, 3, H, W) twice -> (N,)) in float32 to slices of frames.

    Autocast and TF32 are off inside: SSIM subtracts squares of means that nearly cancel, and is wrong in either.

    Args:
        measure: from float32 frames in [0, 1] to one value each.
        prediction: (B, T, 3, H, W) in [0, 1].
        target: the same shape and range.
        frame_pixels: pixels that count for a frame against `PIXELS_PER_SLICE`; by default its own. A network of many
            channels, or one that enlarges its input, gives more.

    Raises:
        ValueError: see `check_pair`.
    """
    check_pair(prediction, target)
    batch, time = prediction.shape[:2]
    frames_per_slice = max(1, PIXELS_PER_SLICE // (frame_pixels or prediction.shape[-2] * prediction.shape[-1]))
    values = torch.empty(batch, time, device=prediction.device)
    cudnn = torch.backends.cudnn
    with torch.autocast(prediction.device.type, enabled=False), cudnn.flags(cudnn.enabled, allow_tf32=False):
        for row in range(batch):
            for start in range(0, time, frames_per_slice):
                part = slice(start, start + frames_per_slice)
                values[row, part] = measure(prediction[row, part].float(), target[row, part].float()).float()
    return values
