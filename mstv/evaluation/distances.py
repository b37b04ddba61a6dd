"""Frechet distances across episodes: features of each episode's windows, and the distances of all of them."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mstv.data.results import GroundTruth, Series, SeriesSummary, WindowMean
from mstv.evaluation.episode import Episode
from mstv.metrics import FrechetMetric, frechet_distance_of_samples

Features = dict[str, Float[np.ndarray, "_ _ _"]]
"""Arrays (H, N, D), N samples of each of H windows, as `<metric>.<video>`: generated, decoded, shuffled, recorded."""
TRUTHS: dict[GroundTruth, str] = {"raw": "recorded", "decoded": "decoded"}
SERIES: dict[Series, str] = {"generated": "generated", "upper_bound": "decoded", "lower_bound": "shuffled"}
"""Videos behind ground truths and series."""


@torch.no_grad()
def episode_features(
    episode: Episode, metrics: Sequence[FrechetMetric], seed: int, device: torch.device | None = None
) -> Features:
    """Features of the windows of frames that end at the metrics' horizons.

    Args:
        episode: its frames.
        metrics: with their networks on `device`.
        seed: of the order of the lower bound.
        device: where to measure; None is the CPU.
    """
    plain = torch.arange(episode.context_frames, episode.end_frame)
    videos = {
        "generated": (episode.generated, plain),
        "decoded": (episode.decoded, plain),
        "shuffled": (episode.decoded, episode.shuffled(seed)),
        "recorded": (episode.recorded, plain),
    }
    found = {}
    for metric in metrics:
        for name, (video, index) in videos.items():
            windows = [video[index[last - metric.clip : last]][None] for last in metric.horizons]
            features = [metric.extract(window.to(device or "cpu")).float().cpu() for window in windows]
            found[f"{metric.name}.{name}"] = torch.stack(features).numpy()
    return found


def distances(metric: FrechetMetric, episodes: Sequence[Features]) -> list[SeriesSummary]:
    """The distances of a metric at its horizons, of each series from each ground truth.

    Args:
        metric: which made the features.
        episodes: features of each episode.

    Raises:
        ValueError: fewer than two samples.
    """
    found = []
    for truth, true in TRUTHS.items():
        for series, ours in SERIES.items():
            if ours == true:
                continue
            a, b = (_samples(episodes, f"{metric.name}.{video}") for video in (ours, true))
            windows = [
                WindowMean(
                    horizon=last,
                    first=last - metric.clip + 1,
                    value=frechet_distance_of_samples(a[index], b[index]),
                    interval=None,
                )
                for index, last in enumerate(metric.horizons)
            ]
            found.append(
                SeriesSummary(
                    metric=metric.name,
                    ground_truth=truth,
                    series=series,
                    num_episodes=len(episodes),
                    num_frames=len(episodes) * metric.clip * len(metric.horizons),
                    overall=None,
                    horizons=tuple(windows),
                )
            )
    return found


def _samples(episodes: Sequence[Features], name: str) -> Float[Tensor, "H N D"]:
    return torch.from_numpy(np.concatenate([features[name] for features in episodes], axis=1))
