"""Cosine similarity of DINOv2 class tokens."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mstv.metrics.dinov2 import DINOv2
from mstv.metrics.horizon import HorizonMetric
from mstv.metrics.pairs import per_frame

RESIZED, CROPPED = 256, 224
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours, of values in [0, 1]."""


def preprocess(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 3 224 224"]:
    """The published evaluation transform: shorter side to 256 (bicubic, antialiased), centre of 224, normalised.

    Args:
        images: (N, 3, H, W) in [0, 1].
    """
    height, width = images.shape[-2:]
    short = min(height, width)
    size = (int(RESIZED * height / short), int(RESIZED * width / short))
    # The clamp is what an 8-bit image does to the overshoot of bicubic interpolation.
    resized = F.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = (round((side - CROPPED) / 2) for side in size)
    cropped = resized[..., top : top + CROPPED, left : left + CROPPED]
    mean, deviation = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, DEVIATION))
    return (cropped - mean) / deviation


class FrameDINO(HorizonMetric):
    """Mean cosine similarity of DINOv2 class tokens by horizon (Oquab et al. 2023): is it the same scene?

    Videos (B, T, 3, H, W) in [0, 1]; values in [-1, 1], 1 for equal frames.

    Args:
        backbone: the transformer, on the same device as the videos.
        max_horizon: largest horizon that `update` may be given.
    """

    unit, source = "cosine in [-1, 1]", "Oquab et al. 2023"

    def __init__(self, backbone: DINOv2, max_horizon: int = 1024) -> None:
        super().__init__(max_horizon)
        self.backbone = backbone.eval().requires_grad_(False)

    @property
    def name(self) -> str:  # type: ignore[override]
        """Such as `dino_vits14`: numbers of several sizes are not to be mixed."""
        return f"dino_{self.backbone.name.removeprefix('dinov2_')}"

    @torch.no_grad()
    def measure(
        self, prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]
    ) -> Float[Tensor, "B T"]:
        """Cosine similarity of each frame."""

        def cosine(a: Tensor, b: Tensor) -> Tensor:
            return F.cosine_similarity(self.backbone(preprocess(a)), self.backbone(preprocess(b)))

        return per_frame(cosine, prediction, target, frame_pixels=RESIZED**2)

    def definition(self) -> dict[str, Any]:
        """Backbone, hash and resize; `weights` is None for random ones."""
        return {
            "backbone": self.backbone.name,
            "feature": "class token after the last norm",
            "resize": "shorter side to 256, bicubic, antialiased; centre crop of 224; ImageNet normalisation",
            "weights": self.backbone.file.card() if self.backbone.file else None,
        }
