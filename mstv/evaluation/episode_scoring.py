"""Scores of the frames of an episode: the rollout and both bounds, by every metric, against every ground truth."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mstv.data.results import SCORES, GroundTruth, Series, episode_scores
from mstv.evaluation.episode import Episode
from mstv.metrics import HorizonMetric, TokenDrift

FRAMES_AT_ONCE = 64
"""Frames that are moved to the device together."""


def score_episode(
    episode: Episode, metrics: Sequence[HorizonMetric], seed: int, device: torch.device | None = None
) -> pa.Table:
    """Scores of the generated frames.

    Left out: decoded frames against themselves, which are perfect. Shuffled frames say nothing of time: the lower bound
    of metrics of time is the last given frame, held.

    Args:
        episode: frames and latents.
        metrics: with their networks on `device`.
        seed: of the order of the lower bound.
        device: where to measure; None is the CPU.

    Returns:
        A table of `SCORES`.
    """
    start, end = episode.context_frames, episode.end_frame
    frame = np.arange(start, end)
    plain, shuffled = torch.arange(start, end), episode.shuffled(seed)
    held = torch.full_like(plain, start - 1)
    tables = [SCORES.empty_table()]
    for metric in metrics:
        for truth_name, truth in _truths(episode, metric).items():
            ours, best = _videos(episode, metric)
            series: dict[Series, tuple[Tensor, Tensor]] = {"generated": (ours, plain)}
            if truth_name != "decoded":
                series["upper_bound"] = (best, plain)
            series["lower_bound"] = (best, held if metric.temporal else shuffled)
            for name, (video, index) in series.items():
                values = _measured(metric, video, index, truth[start:], device or torch.device("cpu"))
                tables.append(
                    episode_scores(episode.key, frame, frame - start + 1, metric.name, truth_name, name, values)
                )
    return pa.concat_tables(tables)


def _truths(episode: Episode, metric: HorizonMetric) -> dict[GroundTruth, Tensor]:
    if isinstance(metric, TokenDrift):
        return {"latents": episode.true_latents}
    return {"raw": episode.recorded, "decoded": episode.decoded}


def _videos(episode: Episode, metric: HorizonMetric) -> tuple[Tensor, Tensor]:
    """What was generated, and the best that can be."""
    if isinstance(metric, TokenDrift):
        return episode.generated_latents, episode.true_latents
    return episode.generated, episode.decoded


def _measured(
    metric: HorizonMetric,
    video: Float[Tensor, "T *frame"],
    index: Int[Tensor, " N"],
    truth: Float[Tensor, "N ..."],
    device: torch.device,
) -> Float[np.ndarray, " N"]:
    """Values of the video's frames at `index` against the true ones."""
    at_once = len(index) if metric.temporal else FRAMES_AT_ONCE
    values = [
        metric.measure(video[part][None].to(device), true[None].to(device))[0].cpu()
        for part, true in zip(index.split(at_once), truth.split(at_once), strict=True)
    ]
    return torch.cat(values).numpy()
