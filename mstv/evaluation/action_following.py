"""Whether a rollout does what its actions say: actions told from its frames, against those that it was given."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Shaped

from mstv.data.results import SUMMARY_HORIZONS, MetricNote, WindowMean
from mstv.data.results.actions import (
    ACTION_FOLLOWING,
    ACTION_SCORES,
    ACTION_STATISTIC,
    ActionScore,
    ActionSeries,
    ActionSummary,
    ActionSums,
    action_rows,
)
from mstv.evaluation.episode import Episode
from mstv.inverse_dynamics.inverse_dynamics import InverseDynamics
from mstv.inverse_dynamics.module import predict_actions
from mstv.metrics.action_agreement import ActionAgreement, Score

VERSION = 1
"""Grows when the same rollouts would get other scores by the same model; `ActionAgreement` has a version of its own."""
RESAMPLES = 1000


def agreement_of(model: InverseDynamics) -> ActionAgreement:
    """The scores that the model's actions have."""
    return ActionAgreement(model.actions.names, model.actions.binary)


def action_note(model: InverseDynamics, sha256: str) -> MetricNote:
    """What defines the scores: how they are computed, and the model that tells actions.

    The model stands apart from what makes a version: evaluations by different models may share a page, where they have
    tables of their own.

    Args:
        model: that tells the actions.
        sha256: of its weights.
    """
    agreement = agreement_of(model).card()
    definition = agreement | {
        "name": ACTION_FOLLOWING,
        "version": VERSION,
        "agreement_version": agreement["version"],
        "aggregation": ACTION_STATISTIC,
        "inverse_dynamics": {"sha256": sha256, "clip_frames": model.clip_frames},
    }
    return MetricNote(name=ACTION_FOLLOWING, aggregation=ACTION_STATISTIC, definition=definition)


def score_actions(
    model: InverseDynamics, episode: Episode, actions: Shaped[np.ndarray, "T *columns"], seed: int
) -> ActionSums:
    """Tell the actions of an episode's generated frames, and of its truth.

    Args:
        model: in evaluation mode.
        episode: its frames; those of the context help to tell the first action.
        actions: that produced each frame, as recorded.
        seed: of the order of the lower bound.
    """
    start, end = episode.context_frames, episode.end_frame
    shuffled = torch.cat([torch.arange(start), episode.shuffled(seed)])
    videos: dict[ActionSeries, torch.Tensor] = {
        "generated": episode.generated,
        "upper_bound": episode.decoded,
        "recorded": episode.recorded,
        "lower_bound": episode.decoded[shuffled],
    }
    agreement, true = agreement_of(model), actions[start:end]
    return {name: agreement.frame_sums(predict_actions(model, video, start), true) for name, video in videos.items()}


def episode_rows(model: InverseDynamics, episodes: dict[str, ActionSums]) -> pa.Table:
    """Scores of each episode over all its frames, as `ACTION_SCORES`."""
    agreement = agreement_of(model)
    tables = [ACTION_SCORES.empty_table()]
    for key, of_series in episodes.items():
        for series, sums in of_series.items():
            scores = {score: float(value) for score, value in agreement.scores(sums.sum(0)).items()}
            tables.append(action_rows(key, series, scores, len(sums)))
    return pa.concat_tables(tables)


def action_summary(model: InverseDynamics, sha256: str, episodes: Sequence[ActionSums], seed: int = 0) -> ActionSummary:
    """Scores over the frames of all episodes, at the horizons of every metric and over all.

    Args:
        model: that told the actions.
        sha256: of its weights.
        episodes: at least one; all of one length.
        seed: of the bootstrap.
    """
    agreement = agreement_of(model)
    span = len(next(iter(episodes[0].values())))
    windows = [(h // 2 + 1, h) for h in sorted({*SUMMARY_HORIZONS, span}) if h <= span]
    scores = []
    for series in episodes[0]:
        sums = np.stack([episode[series] for episode in episodes])
        found = {window: _window_means(agreement, sums, *window, seed) for window in [(1, span), *windows]}
        for score, overall in found[1, span].items():
            at_horizons = [found[window][score] for window in windows if score in found[window]]
            scores.append(
                ActionScore(series=series, metric=score[0], name=score[1], overall=overall, horizons=tuple(at_horizons))
            )
    units = dict(zip(model.actions.names, model.actions.units, strict=True)) if model.actions.units else {}
    return ActionSummary(inverse_dynamics_sha256=sha256, units=units, scores=tuple(scores))


def _window_means(
    agreement: ActionAgreement, sums: Float[np.ndarray, "E T S"], first: int, last: int, seed: int
) -> dict[Score, WindowMean]:
    """Scores of the frames at horizons first, ..., last; those without anything to go by are left out."""
    of_episode = sums[:, first - 1 : last].sum(1)
    count = len(of_episode)
    means = agreement.scores(of_episode.sum(0))
    drawn = np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=RESAMPLES)
    resampled = agreement.scores(drawn @ of_episode)
    found = {}
    for score, mean in means.items():
        if not np.isfinite(mean):
            continue
        known = resampled[score][np.isfinite(resampled[score])]
        low, high = np.percentile(known, [2.5, 97.5]) if count > 1 and len(known) else (np.nan, np.nan)
        interval = (float(low), float(high)) if np.isfinite(low) else None
        found[score] = WindowMean(horizon=last, first=first, value=float(mean), interval=interval)
    return found
