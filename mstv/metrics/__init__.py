"""torchmetrics.Metric classes on video in [0, 1]: per frame, across episodes, and over revisits of a place."""

from mstv.metrics.bootstrap import Interval, bootstrap_mean, paired_difference
from mstv.metrics.colour import FrameColour, frame_colour
from mstv.metrics.dino import FrameDINO
from mstv.metrics.dinov2 import DINOv2
from mstv.metrics.distribution import DistanceCurve, FrameFrechet, FrechetMetric, VideoFrechet
from mstv.metrics.features import Features
from mstv.metrics.frechet import frechet_distance, frechet_distance_of_samples
from mstv.metrics.freezing import FrameFrozen, frame_change, frozen
from mstv.metrics.horizon import HorizonCurve, HorizonMetric
from mstv.metrics.i3d import I3DFeatures
from mstv.metrics.inception import InceptionFeatures
from mstv.metrics.keypoints import FrameKeypoints
from mstv.metrics.lpips import LPIPS, FrameLPIPS
from mstv.metrics.psnr import MAX_PSNR, FramePSNR, frame_mse, frame_psnr, psnr_of_mse
from mstv.metrics.revisit_consistency import RevisitConsistency, RevisitTable, revisit_scores
from mstv.metrics.revisits import Revisits, find_revisits
from mstv.metrics.sharpness import FrameSharpness, frame_sharpness
from mstv.metrics.ssim import FrameSSIM, frame_ssim
from mstv.metrics.token_drift import TokenDrift
from mstv.metrics.unavailable import MetricUnavailable
from mstv.metrics.weights import WeightFile

__all__ = [
    "LPIPS",
    "MAX_PSNR",
    "DINOv2",
    "DistanceCurve",
    "Features",
    "FrameColour",
    "FrameDINO",
    "FrameFrechet",
    "FrameFrozen",
    "FrameKeypoints",
    "FrameLPIPS",
    "FramePSNR",
    "FrameSSIM",
    "FrameSharpness",
    "FrechetMetric",
    "HorizonCurve",
    "HorizonMetric",
    "I3DFeatures",
    "InceptionFeatures",
    "Interval",
    "MetricUnavailable",
    "RevisitConsistency",
    "RevisitTable",
    "Revisits",
    "TokenDrift",
    "VideoFrechet",
    "WeightFile",
    "bootstrap_mean",
    "find_revisits",
    "frame_change",
    "frame_colour",
    "frame_mse",
    "frame_psnr",
    "frame_sharpness",
    "frame_ssim",
    "frechet_distance",
    "frechet_distance_of_samples",
    "frozen",
    "paired_difference",
    "psnr_of_mse",
    "revisit_scores",
]
