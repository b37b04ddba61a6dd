"""Statistics of generated latents, and how they drift from those of the true ones."""

from jaxtyping import Float
from torch import Tensor

from mstv.metrics.channel_statistics import channel_statistics, statistics_distance
from mstv.metrics.horizon import HorizonMetric


class TokenDrift(HorizonMetric):
    """Drift of token statistics by horizon: as `FrameColour`, of the latents of one level.

    The 2-Wasserstein distance of normal distributions with the mean and deviation of each channel over a frame's
    tokens, root mean square over channels. `prediction` and `target` are latents (B, T, h, w, C) here, of any range;
    values from 0, units of a latent. Tells a rollout that leaves the latents' distribution before it shows in pixels.
    """

    name, unit = "token_drift", "latent units, from 0"
    source = "2-Wasserstein distance of per-channel normal distributions"
    higher_is_better = False

    def measure(
        self, prediction: Float[Tensor, "B T h w C"], target: Float[Tensor, "_ _ _ _ _"]
    ) -> Float[Tensor, "B T"]:
        """Distance of each frame's tokens.

        Raises:
            ValueError: the shapes differ.
        """
        if prediction.shape != target.shape:
            raise ValueError(f"prediction is {tuple(prediction.shape)} and target {tuple(target.shape)}: give the same")
        ours, true = (channel_statistics(latents.flatten(2, 3).mT) for latents in (prediction, target))
        return statistics_distance(ours, true)
