"""The metrics of an evaluation, by the names that they have in result files."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mstv.metrics import (
    LPIPS,
    DINOv2,
    Features,
    FrameColour,
    FrameDINO,
    FrameFrechet,
    FrameFrozen,
    FrameKeypoints,
    FrameLPIPS,
    FramePSNR,
    FrameSharpness,
    FrameSSIM,
    FrechetMetric,
    HorizonMetric,
    I3DFeatures,
    InceptionFeatures,
    TokenDrift,
    VideoFrechet,
    dinov2,
    i3d,
    inception,
    lpips,
    ssim,
    trunks,
)

FRAME_METRICS: dict[str, Callable[[Path | None], HorizonMetric]] = {
    "psnr": lambda _: FramePSNR(),
    "ssim": lambda _: FrameSSIM(),
    "lpips_vgg16": lambda file: FrameLPIPS(LPIPS.from_files("vgg16", file)),
    "lpips_alexnet": lambda file: FrameLPIPS(LPIPS.from_files("alexnet", file)),
    "dino_vits14": lambda file: FrameDINO(DINOv2.from_file("vits14", file)),
    "dino_vitb14": lambda file: FrameDINO(DINOv2.from_file("vitb14", file)),
    "keypoint_matches": lambda _: FrameKeypoints(),
    "sharpness": lambda _: FrameSharpness(),
    "colour_drift": lambda _: FrameColour(),
    "frozen": lambda _: FrameFrozen(),
    "token_drift": lambda _: TokenDrift(),
}
"""Metrics with a value for each frame, made from their file of weights."""
FEATURES: dict[str, tuple[type[FrechetMetric], Callable[[Path | None], Features]]] = {
    "fid": (FrameFrechet, InceptionFeatures.from_file),
    "fvd": (VideoFrechet, I3DFeatures.from_file),
}
"""Distances across episodes, and the networks whose features they compare."""
METRICS = (*FRAME_METRICS, *FEATURES)
WEIGHTS = {
    "lpips_vgg16": trunks.WEIGHTS["vgg16"],
    "lpips_alexnet": trunks.WEIGHTS["alexnet"],
    "dino_vits14": dinov2.public_weights("vits14"),
    "dino_vitb14": dinov2.public_weights("vitb14"),
    "fid": inception.WEIGHTS,
    "fvd": i3d.FILE,
}
"""Public files that metrics need."""
MIN_SIDE = {"ssim": ssim.WINDOW, "lpips_vgg16": lpips.MIN_SIDE, "lpips_alexnet": lpips.MIN_SIDE}
"""Pixels that a side of a frame must have."""
CLIP = 16
"""Frames of a window of FID and FVD."""


def default_metrics() -> tuple[str, ...]:
    """Those that need no weights and little time."""
    wanted = ["psnr", "ssim", "sharpness", "colour_drift", "frozen", "token_drift"]
    if importlib.util.find_spec("cv2"):
        wanted.append("keypoint_matches")
    return tuple(wanted)


@dataclass(frozen=True)
class MetricSet:
    """Metrics that are ready to measure.

    Attributes:
        frame: with a value for each frame.
        distances: across episodes.
    """

    frame: tuple[HorizonMetric, ...]
    distances: tuple[FrechetMetric, ...]

    @property
    def cards(self) -> tuple[dict[str, Any], ...]:
        """What defines each."""
        return (*(metric.card() for metric in self.frame), *(metric.card() for metric in self.distances))

    def only(self, names: set[str]) -> "MetricSet":
        """Those of these names."""
        frame = tuple(metric for metric in self.frame if metric.name in names)
        return MetricSet(frame, tuple(metric for metric in self.distances if metric.name in names))

    def to(self, device: torch.device) -> "MetricSet":
        """The set, its networks on a device."""
        modules: list[torch.nn.Module] = [*self.frame, *self.distances]
        for metric in modules:
            metric.to(device)
        return self


def load_metric(name: str, weights: Path | None) -> HorizonMetric | Features:
    """A metric that is ready to measure, or the network of a distance.

    Args:
        name: one of `METRICS`.
        weights: folder of the public files, under their own names.

    Raises:
        MetricUnavailable: an optional package or a file of weights is absent; or the file is not the one.
    """
    file = weights / WEIGHTS[name].name if weights is not None and name in WEIGHTS else None
    return FRAME_METRICS[name](file) if name in FRAME_METRICS else FEATURES[name][1](file)


def metric_set(loaded: Sequence[tuple[str, HorizonMetric | Features]], horizons: Sequence[int]) -> MetricSet:
    """What was loaded, as metrics.

    Args:
        loaded: names and results of `load_metric`.
        horizons: at which distances are wanted; those below `CLIP` are left out.

    Raises:
        ValueError: there is a distance and no horizon is left for it.
    """
    frame = tuple(metric for _, metric in loaded if isinstance(metric, HorizonMetric))
    wanted = [horizon for horizon in horizons if horizon >= CLIP]
    distances = [
        FEATURES[name][0](network, wanted, CLIP) for name, network in loaded if not isinstance(network, HorizonMetric)
    ]
    return MetricSet(frame, tuple(distances))
