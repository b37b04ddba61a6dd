"""How a metric is shown: its title, its digits, and which of two values is better."""

from dataclasses import dataclass
from typing import Literal, get_args

from mstv.data.results import GroundTruth, MetricNote

Better = Literal["higher", "lower", "near zero"]
TITLES = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "lpips_vgg16": "LPIPS (VGG16)",
    "lpips_alexnet": "LPIPS (AlexNet)",
    "dino_vits14": "DINOv2 cosine (ViT-S/14)",
    "dino_vitb14": "DINOv2 cosine (ViT-B/14)",
    "keypoint_matches": "Keypoint matches",
    "sharpness": "Sharpness, log2 of the ratio,",
    "colour_drift": "Colour drift",
    "frozen": "Share of frozen videos",
    "token_drift": "Token drift",
    "fid": "FID",
    "fvd": "FVD",
}
HINTS = {"higher": "", "lower": " (lower is better)", "near zero": " (0 is best)"}
DIGITS = {"psnr": 2, "keypoint_matches": 1, "colour_drift": 4, "token_drift": 4, "fid": 2, "fvd": 1}
AGAINST: dict[GroundTruth, str] = {"raw": "raw frames", "decoded": "decoded frames", "latents": "true latents"}
"""What ground truths are called."""


@dataclass(frozen=True)
class ShownMetric:
    """A metric as pages and tables show it."""

    name: str
    better: Better = "higher"

    @staticmethod
    def of(note: MetricNote) -> "ShownMetric":
        """That of a card; of evaluations of earlier versions, which had PSNR and SSIM alone, higher was better."""
        told = (note.definition or {}).get("better")
        return ShownMetric(note.name, next((better for better in get_args(Better) if better == told), "higher"))

    @property
    def title(self) -> str:
        """Its name with its unit."""
        return TITLES.get(self.name, self.name)

    def against(self, truth: GroundTruth) -> str:
        """The title of a chart or a table: what it compares with, and which values are better if not higher ones."""
        return f"{self.title} against {AGAINST[truth]}{HINTS[self.better]}"

    def text(self, value: float) -> str:
        """A value with the digits that mean something."""
        return f"{value:.{DIGITS.get(self.name, 3)}f}"

    def rank(self, value: float) -> float:
        """Higher for better values."""
        return {"higher": value, "lower": -value, "near zero": -abs(value)}[self.better]
