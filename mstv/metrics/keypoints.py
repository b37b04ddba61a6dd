"""Keypoints that a frame shares with the true one, by OpenCV."""

import importlib
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mstv.metrics.horizon import HorizonMetric
from mstv.metrics.pairs import per_frame
from mstv.metrics.unavailable import MetricUnavailable

RATIO = 0.75
REPROJECTION = 3.0
"""Pixels that a match may lie off the homography."""
MIN_MATCHES = 4
"""A homography needs four points; fewer count as no match."""


def _opencv() -> ModuleType:
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MetricUnavailable(f"keypoint matches need OpenCV ({error}): pip install 'mstv[keypoints]'") from None


class FrameKeypoints(HorizonMetric):
    """Mean number of matched keypoints by horizon: is the same geometry there?

    SIFT keypoints (Lowe 2004, OpenCV's defaults) of the grey 8-bit frames; brute-force nearest neighbour with Lowe's
    ratio test; of these, the matches that one homography (RANSAC) explains. Videos (B, T, 3, H, W) in [0, 1]; values
    are counts from 0 to the number of keypoints of the frame, so they depend on its size.

    Args:
        max_horizon: largest horizon that `update` may be given.

    Raises:
        MetricUnavailable: OpenCV is not installed.
    """

    name, unit, source = "keypoint_matches", "matches, from 0", "Lowe 2004; OpenCV"

    def __init__(self, max_horizon: int = 1024) -> None:
        super().__init__(max_horizon)
        _opencv()

    def measure(
        self, prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]
    ) -> Float[Tensor, "B T"]:
        """Matches of each frame."""
        return per_frame(_matches, prediction, target)

    def definition(self) -> dict[str, Any]:
        """Detector, matcher and thresholds."""
        return {
            "detector": "SIFT, OpenCV's defaults, grey 8-bit frames",
            "matcher": f"brute force, L2, ratio test {RATIO}",
            "verification": f"homography, RANSAC, {REPROJECTION} pixels, at least {MIN_MATCHES} matches",
            "opencv": _opencv().__version__,
        }


def _matches(prediction: Float[Tensor, "N 3 H W"], target: Float[Tensor, "N 3 H W"]) -> Float[Tensor, " N"]:
    opencv = _opencv()
    detector, matcher = opencv.SIFT_create(), opencv.BFMatcher(opencv.NORM_L2)

    def detect(frame: UInt8[np.ndarray, "H W 3"]) -> tuple[tuple[Any, ...], np.ndarray | None]:
        return detector.detectAndCompute(opencv.cvtColor(frame, opencv.COLOR_RGB2GRAY), None)

    def count(ours: UInt8[np.ndarray, "H W 3"], true: UInt8[np.ndarray, "H W 3"]) -> int:
        (points, descriptors), (true_points, true_descriptors) = detect(ours), detect(true)
        if descriptors is None or true_descriptors is None or min(len(points), len(true_points)) < 2:
            return 0  # the ratio test needs two neighbours
        pairs = matcher.knnMatch(descriptors, true_descriptors, k=2)
        good = [first for first, second in pairs if first.distance < RATIO * second.distance]
        if len(good) < MIN_MATCHES:
            return 0
        sources = np.array([points[match.queryIdx].pt for match in good], np.float32)
        destinations = np.array([true_points[match.trainIdx].pt for match in good], np.float32)
        _, inliers = opencv.findHomography(sources, destinations, opencv.RANSAC, REPROJECTION)
        return 0 if inliers is None else int(inliers.sum())

    arrays = [(x * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy() for x in (prediction, target)]
    counts = [count(ours, true) for ours, true in zip(*arrays, strict=True)]
    return torch.tensor(counts, dtype=torch.float32, device=prediction.device)
