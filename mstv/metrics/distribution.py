"""Frechet distances of what is generated from what is true, across episodes at the same horizon."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from mstv.metrics.features import Features
from mstv.metrics.frechet import frechet_distance, mean_and_covariance
from mstv.metrics.pairs import check_pair

FRAMES_AT_ONCE = 16
INTERVAL = (
    "none: the estimate lies far above the distance of the distributions, by more than it varies from set to set of "
    "episodes; a bootstrap, which repeats episodes, lies higher still"
)
"""Why a distance has no interval."""


class DistanceCurve(NamedTuple):
    """A distance against the horizon; arrays on the CPU."""

    horizon: Int[np.ndarray, " H"]
    """The last horizon of each window."""
    distance: Float[np.ndarray, " H"]
    num_samples: Int[np.ndarray, " H"]
    """Frames (FID) or clips (FVD) of each side behind a distance."""


class FrechetMetric(Metric):
    """Streams mean and covariance of features of windows of frames; a subclass says what a sample is.

    Holds 2 x horizons x D x D float64 sums: 34 MB for a horizon and side of FID. The estimate is biased upwards with
    few samples, so compare only values of equal `num_samples`.

    Args:
        features: the network, on the same device as the videos.
        horizons: last horizon of each window, at least `clip`.
        clip: frames of a window.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    source: ClassVar[str]
    sample: ClassVar[str]

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    count: Tensor
    total: Tensor
    outer: Tensor

    def __init__(self, features: Features, horizons: Sequence[int], clip: int = 16) -> None:
        super().__init__()
        if not horizons or clip < 1 or min(horizons) < clip:
            raise ValueError(f"horizons {list(horizons)} must be given, each at least the clip length {clip}")
        self.features = features.eval().requires_grad_(False)
        self.horizons, self.clip = tuple(sorted(horizons)), clip
        shape, width = (2, len(self.horizons)), features.num_features
        self.add_state("count", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(*shape, width, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("outer", torch.zeros(*shape, width, width, dtype=torch.float64), dist_reduce_fx="sum")

    def extract(self, window: Float[Tensor, "B clip 3 H W"]) -> Float[Tensor, "N D"]:
        """Features of every sample of a window."""
        raise NotImplementedError

    def card(self) -> dict[str, Any]:
        """What defines the number, as a plain dict that JSON can hold; `weights` is None for random ones."""
        return {
            "name": self.name,
            "version": self.version,
            "unit": "squared feature units, from 0",
            "better": "lower",
            "aggregation": f"Frechet distance over every {self.sample} of {self.clip} frames that ends at the horizon, "
            "all episodes together; unbiased covariances",
            "resize": self.features.resize,
            "source": self.source,
            "clip_length": self.clip,
            "horizons": list(self.horizons),
            "backbone": self.features.name,
            "weights": self.features.file.card() if self.features.file else None,
            "interval": INTERVAL,
        }

    @torch.no_grad()
    def update(
        self,
        prediction: Float[Tensor, "B T 3 H W"],
        target: Float[Tensor, "_ _ 3 _ _"],
        horizon: Int[Tensor, " T"],
    ) -> None:
        """Add videos.

        Args:
            prediction: (B, T, 3, H, W) in [0, 1].
            target: the same shape and range.
            horizon: (T,) frames since the last ground-truth frame, ascending by 1, with every frame of each window.

        Raises:
            ValueError: shapes differ, values outside [0, 1], or a window lacks frames.
        """
        check_pair(prediction, target)
        if horizon.shape != prediction.shape[1:2] or (horizon.diff() != 1).any():
            raise ValueError(f"horizon must ascend by 1 over the {prediction.shape[1]} frames")
        first = int(horizon[0])
        if not first <= self.horizons[0] - self.clip + 1 or self.horizons[-1] > int(horizon[-1]):
            raise ValueError(
                f"{self.name}: windows of {self.clip} frames that end at {list(self.horizons)} do not lie in the "
                f"horizons {first}..{int(horizon[-1])}"
            )
        for side, video in enumerate((prediction, target)):
            for index, last in enumerate(self.horizons):
                window = video[:, last - self.clip + 1 - first : last + 1 - first]
                with torch.autocast(video.device.type, enabled=False):
                    found = self.extract(window.float()).to(self.total)
                self.count[side, index] += len(found)
                self.total[side, index] += found.sum(0)
                self.outer[side, index] += found.T @ found

    def compute(self) -> DistanceCurve:
        """The curve over the samples of all processes.

        Raises:
            ValueError: fewer than two samples.
        """
        if self.count.min() < 2:
            raise ValueError(f"{self.name} needs at least 2 samples at each horizon")
        moments = [
            [
                mean_and_covariance(*sums)
                for sums in zip(self.count[side], self.total[side], self.outer[side], strict=True)
            ]
            for side in (0, 1)
        ]
        distances = [frechet_distance(*ours, *true) for ours, true in zip(*moments, strict=True)]
        return DistanceCurve(np.array(self.horizons), np.array(distances), self.count[0].cpu().numpy())


class FrameFrechet(FrechetMetric):
    """FID by horizon (Heusel et al. 2017): each frame of the last `clip` is a sample."""

    name, source, sample = "fid", "Heusel et al. 2017", "frame"

    def extract(self, window: Float[Tensor, "B clip 3 H W"]) -> Float[Tensor, "N D"]:
        """Features of every frame."""
        return torch.cat([self.features(part) for part in window.flatten(0, 1).split(FRAMES_AT_ONCE)])


class VideoFrechet(FrechetMetric):
    """FVD by horizon (Unterthiner et al. 2018): the clip that ends at the horizon is a sample."""

    name, source, sample = "fvd", "Unterthiner et al. 2018", "clip"

    def extract(self, window: Float[Tensor, "B clip 3 H W"]) -> Float[Tensor, "N D"]:
        """Features of every clip."""
        return torch.cat([self.features(part) for part in window.split(max(1, FRAMES_AT_ONCE // self.clip))])
