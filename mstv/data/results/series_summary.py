"""One metric of one video series at a few horizons."""

from pydantic import Field

from mstv.data.results.card import GroundTruth, Part
from mstv.data.results.scores import Series


class WindowMean(Part):
    """A metric around one horizon: a mean, or the distance of all frames in the window."""

    horizon: int
    first: int = Field(description="first horizon of the window; the last one is `horizon`")
    value: float
    interval: tuple[float, float] | None = Field(description="None with a single episode, and for distances")


class SeriesSummary(Part):
    """One metric of one video series against one ground truth."""

    metric: str
    ground_truth: GroundTruth
    series: Series
    num_episodes: int
    num_frames: int
    overall: WindowMean | None = Field(description="None for distances across episodes")
    pooled: float | None = Field(default=None, description="PSNR only: dB of the squared error pooled over all frames")
    horizons: tuple[WindowMean, ...]
