"""torchmetrics.Metric classes on video in [0, 1]."""

from mstv.metrics.horizon import HorizonCurve, HorizonMetric
from mstv.metrics.psnr import MAX_PSNR, FramePSNR, frame_mse, frame_psnr, psnr_of_mse
from mstv.metrics.ssim import FrameSSIM, frame_ssim

__all__ = [
    "MAX_PSNR",
    "FramePSNR",
    "FrameSSIM",
    "HorizonCurve",
    "HorizonMetric",
    "frame_mse",
    "frame_psnr",
    "frame_ssim",
    "psnr_of_mse",
]
