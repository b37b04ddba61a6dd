"""Means of per-frame values as a function of the horizon, right on one process and on many."""

from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric


class HorizonCurve(NamedTuple):
    """A metric against the horizon; arrays on the CPU, one entry for each horizon that was seen."""

    horizon: Int[np.ndarray, " H"]
    """Frames since the last ground-truth frame, ascending; 1 is the first generated frame."""
    mean: Float[np.ndarray, " H"]
    """Mean of the per-frame values."""
    num_frames: Int[np.ndarray, " H"]
    """Frames behind each mean."""
    pooled: Float[np.ndarray, " H"] | None = None
    """PSNR only: dB of the mean squared error of all frames at a horizon, at most the mean of their dB."""


class HorizonMetric(Metric):
    """Accumulates per-frame values by horizon; a subclass says how a frame is measured.

    The states have a fixed size, so their sum over processes is defined even where one process saw no frame.

    Args:
        max_horizon: largest horizon that `update` may be given.
    """

    name: ClassVar[str]
    """As in result files, such as psnr."""
    version: ClassVar[int] = 1
    """Grows when the same videos would get other numbers."""
    unit: ClassVar[str]
    """Unit and range of a value."""
    source: ClassVar[str]
    """The paper or definition."""
    temporal: ClassVar[bool] = False
    """Whether a frame's value depends on the frames before it, so that frames cannot be measured one by one."""

    is_differentiable = False
    higher_is_better: bool | None = True
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, max_horizon: int = 1024) -> None:
        super().__init__()
        if max_horizon < 1:
            raise ValueError(f"max_horizon is {max_horizon}, it must be at least 1")
        self.max_horizon = max_horizon
        self.add_state("total", torch.zeros(max_horizon), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(max_horizon, dtype=torch.int64), dist_reduce_fx="sum")

    def measure(
        self, prediction: Float[Tensor, "B T *frame"], target: Float[Tensor, "_ _ ..."]
    ) -> Float[Tensor, "B T"]:
        """Value of each frame; finite for all videos in [0, 1]. Arguments and errors as `update`."""
        raise NotImplementedError

    def card(self) -> dict[str, Any]:
        """What defines the number, as a plain dict that JSON can hold."""
        return {
            "name": self.name,
            "version": self.version,
            "unit": self.unit,
            "better": {True: "higher", False: "lower", None: "near zero"}[self.higher_is_better],
            "aggregation": f"mean of per-frame {self.name} over frames at the same horizon",
            "resize": "none",
            "source": self.source,
        } | self.definition()

    def definition(self) -> dict[str, Any]:
        """A subclass's own entries of the card: backbone, resize, thresholds."""
        return {}

    def update(
        self,
        prediction: Float[Tensor, "B T *frame"],
        target: Float[Tensor, "_ _ ..."],
        horizon: Int[Tensor, " T"],
    ) -> None:
        """Add videos.

        Args:
            prediction: (B, T, 3, H, W) in [0, 1].
            target: the same shape and range.
            horizon: (T,) frames since the last ground-truth frame, in 1..max_horizon; equal for all of the batch.

        Raises:
            ValueError: shapes differ, values outside [0, 1], or a horizon outside 1..max_horizon.
        """
        if horizon.shape != prediction.shape[1:2]:
            raise ValueError(f"horizon is {tuple(horizon.shape)}, prediction has {prediction.shape[1]} frames")
        if horizon.numel() and not 1 <= horizon.min() <= horizon.max() <= self.max_horizon:
            raise ValueError(
                f"horizons {horizon.min()}..{horizon.max()} do not lie in 1..{self.max_horizon}: "
                "leave context frames out, or raise max_horizon"
            )
        self._accumulate(horizon.to(self.total.device) - 1, self.measure(prediction, target))

    def _accumulate(self, index: Int[Tensor, " T"], values: Float[Tensor, "B T"]) -> None:
        self.total.index_add_(0, index, values.sum(0).to(self.total))
        self.count.index_add_(0, index, torch.full_like(index, len(values)))

    def compute(self) -> HorizonCurve:
        """The curve over all frames of all processes; empty if there were none."""
        seen = self.count.nonzero()[:, 0]
        count = self.count[seen]
        return HorizonCurve(
            horizon=(seen + 1).cpu().numpy(),
            mean=(self.total[seen] / count).cpu().numpy(),
            num_frames=count.cpu().numpy(),
        )
