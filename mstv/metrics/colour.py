"""Colour statistics of frames, and how they drift from those of the true frames."""

from jaxtyping import Float
from torch import Tensor

from mstv.metrics.channel_statistics import channel_statistics, statistics_distance
from mstv.metrics.horizon import HorizonMetric
from mstv.metrics.pairs import check_pair, check_video


def frame_colour(video: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B T 2 3"]:
    """Mean and standard deviation of each channel of each frame.

    Args:
        video: (B, T, 3, H, W) in [0, 1].

    Returns:
        (B, T, 2, 3): means, then deviations, of R, G and B in [0, 1].

    Raises:
        ValueError: another shape, or values outside [0, 1].
    """
    check_video("video", video)
    return channel_statistics(video.flatten(3))


class FrameColour(HorizonMetric):
    """Drift of colours by horizon: distance of the colour statistics of a frame from those of the true frame.

    The 2-Wasserstein distance of normal distributions with those means and deviations, root mean square over channels.
    Blind to where things are. Videos (B, T, 3, H, W) in [0, 1]; values from 0 to about 1, units of a pixel value.
    """

    name, unit = "colour_drift", "pixel value, from 0"
    source = "2-Wasserstein distance of per-channel normal distributions"
    higher_is_better = False

    def measure(
        self, prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]
    ) -> Float[Tensor, "B T"]:
        """Distance of each frame."""
        check_pair(prediction, target)
        return statistics_distance(frame_colour(prediction), frame_colour(target))
