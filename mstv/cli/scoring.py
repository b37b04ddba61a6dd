"""The scoring of a rollout's episodes: what is wanted, what is there, and what each process does of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from mstv.cli.action_following import ActionFollowing
from mstv.cli.rollout_job import RolloutJob
from mstv.cli.runtime import Rank
from mstv.cli.signs_of_life import wait_for
from mstv.data.results import (
    CARD,
    REVISIT_SCORES,
    SUMMARY,
    SUMMARY_HORIZONS,
    Card,
    MetricNote,
    Summary,
    declare_metrics,
    episode_metrics,
    merge_revisit_scores,
    merge_scores,
    merged_metrics,
    read_episode_revisits,
    read_episode_scores,
    read_features,
    scored_metrics,
    summarise,
    summarised_metrics,
    write_distances,
    write_episode_revisits,
    write_episode_scores,
    write_features,
)
from mstv.data.results.actions import ACTION_FOLLOWING
from mstv.data.shards import read_episode_frames
from mstv.errors import UserError
from mstv.evaluation.distances import distances, episode_features
from mstv.evaluation.episode import Episode
from mstv.evaluation.episode_scoring import score_episode
from mstv.evaluation.metric_set import CLIP, MIN_SIDE, WEIGHTS, MetricSet, default_metrics, load_metric, metric_set
from mstv.evaluation.revisit_scoring import OF_PLACES, revisit_means, revisit_note, score_revisits
from mstv.metrics import Features, HorizonMetric, MetricUnavailable
from mstv.progress import progress

Loaded = Sequence[tuple[str, HorizonMetric | Features]]


def load_metrics(names: Sequence[str], weights: Path | None) -> Loaded:
    """Metrics by name, once each.

    Raises:
        UserError: packages or files are absent or not the ones, all of them.
    """
    loaded, wrong = [], []
    for name in dict.fromkeys(names):
        try:
            loaded.append((name, load_metric(name, weights)))
        except MetricUnavailable as error:
            wrong.append((name, error))
    if wrong:
        fix = ", and give its folder with --weights" if weights is None and any(n in WEIGHTS for n, _ in wrong) else ""
        raise UserError("; ".join(f"--metrics {name}: {error}" for name, error in wrong) + fix)
    return loaded


@dataclass(frozen=True)
class Scoring:
    """What is measured of a job's episodes.

    Attributes:
        metrics: that the finished evaluation will have and now lacks.
        following: how well rollouts follow their actions, where it is wanted.
        there: whether the metrics were finished when the command began.
    """

    job: RolloutJob
    metrics: MetricSet
    following: ActionFollowing | None
    there: bool

    @staticmethod
    def begin(
        job: RolloutJob, loaded: Loaded | None, weights: Path | None, following: ActionFollowing | None = None
    ) -> Scoring:
        """Settle the metrics and write them into the card.

        Args:
            job: the rollout.
            loaded: the metrics that were asked for; None takes those of the card, or the default.
            weights: folder of public weights.
            following: the model that is to tell actions, if one is.

        Raises:
            UserError: a metric has no meaning for these frames or episodes, or is there by another definition.
        """
        named = scored_metrics(Card.read(job.folder / CARD))
        finished = summarised_metrics(job.folder)
        if loaded is None and named and finished.issuperset(named):
            return Scoring(job, MetricSet((), ()), following, there=True)
        if loaded is None:
            loaded = load_metrics(named or default_metrics(), weights)
        names = [name for name, _ in loaded]
        _check(job.card, names)
        span = job.card.end_frame - job.card.context_frames
        metrics = metric_set(loaded, [horizon for horizon in sorted({*SUMMARY_HORIZONS, span}) if horizon <= span])
        notes = [
            MetricNote(name=card["name"], aggregation=card["aggregation"], definition=card) for card in metrics.cards
        ]
        if any(isinstance(metric, OF_PLACES) for metric in metrics.frame):
            notes.append(revisit_note())
        declare_metrics(job.folder, notes)
        lacking = set(names) - merged_metrics(job.folder)
        there = finished.issuperset(names)
        return Scoring(job, metrics.only(lacking).to(_device(job)), following, there)

    def score_own(self) -> None:
        """Score this process's episodes, as far as they are not."""
        lacking = {key: self._lacking(key) for key in self.job.keys}
        left = [key for key in self.job.keys if lacking[key]]
        if not left:
            return
        with progress("episodes") as bar:
            task = bar.add_task("scoring", total=len(self.job.keys), completed=len(self.job.keys) - len(left))
            for key in left:
                self._score(key, lacking[key])
                bar.advance(task)

    def wait_for_others(self, rank: Rank) -> None:
        """Wait until the other processes have scored theirs.

        Raises:
            UserError: one of them shows no sign of life.
        """
        owners = {key: position % rank.count for position, key in enumerate(self.job.card.episodes)}
        others = {key: index for key, index in owners.items() if index != rank.index}
        if not others:
            return
        with progress("episodes") as bar:
            task = bar.add_task("waiting for the other ranks", total=len(others))
            wait_for(
                self.job.folder,
                others,
                lambda key: not self._lacking(key),
                lambda left: bar.update(task, completed=len(others) - len(left)),
            )

    def finish(self, seconds: float | None) -> None:
        """Merge the episodes and write the summary.

        Args:
            seconds: wall clock of the whole rollout, if it was measured.
        """
        if not self.there:
            self._finish_metrics(seconds)
        if self.following:
            self.following.finish()

    def _finish_metrics(self, seconds: float | None) -> None:
        folder, episodes = self.job.folder, self.job.card.episodes
        card = Card.read(folder / CARD)
        revisits = merge_revisit_scores(folder, episodes, [note.name for note in card.metrics])
        merge_scores(folder)
        if self.metrics.distances:
            features = [read_features(folder, key) for key in episodes]
            write_distances(folder, [part for metric in self.metrics.distances for part in distances(metric, features)])
        if seconds is None and (folder / SUMMARY).is_file():  # metrics were added
            seconds = Summary.read(folder / SUMMARY).rollout_seconds
        means = revisit_means(revisits, episodes, card.context_frames)
        summarise(folder, seconds, revisits=means)

    def _lacking(self, key: str) -> set[str]:
        names = {card["name"] for card in self.metrics.cards}
        lacking = names - episode_metrics(self.job.folder, key) if names else set()
        return lacking | {ACTION_FOLLOWING} if self.following and self.following.lacks(key) else lacking

    def _score(self, key: str, lacking: set[str]) -> None:
        job, seed, device = self.job, self.job.card.seed, _device(self.job)
        episode, metrics = episode_of(job, key), self.metrics.only(lacking)
        if self.following and ACTION_FOLLOWING in lacking:
            self.following.score(episode)
        if metrics.distances:
            known = read_features(job.folder, key)
            write_features(job.folder, key, known | episode_features(episode, metrics.distances, seed, device))
        if metrics.frame:
            before = read_episode_scores(job.folder, key)
            table = score_episode(episode, metrics.frame, seed, device)
            revisits = score_revisits(episode, job.store.poses(key), metrics.frame, table, seed, device)
            # Frame scores mark the episode as done, so they come last.
            known_revisits = read_episode_revisits(job.folder, key) if before else REVISIT_SCORES.empty_table()
            write_episode_revisits(job.folder, key, pa.concat_tables([known_revisits, revisits]))
            write_episode_scores(job.folder, key, pa.concat_tables([before, table]) if before else table)


def episode_of(job: RolloutJob, key: str) -> Episode:
    """The frames of an episode that was rolled out, and their latents."""
    start, end = job.card.context_frames, job.card.end_frame
    generated = torch.from_numpy(np.array(job.latents(key)))
    true = torch.from_numpy(job.store.read(key, 0, slice(end))).float()
    decoded = job.decode(true)
    recorded = torch.from_numpy(read_episode_frames(job.frames_folder, job.frames, key)[0][:end])
    return Episode(
        key=key,
        context_frames=start,
        generated=torch.cat([decoded[:start], job.decode(generated[start:])]),
        decoded=decoded,
        recorded=recorded.permute(0, 3, 1, 2).float() / 255,
        generated_latents=generated,
        true_latents=true,
    )


def _device(job: RolloutJob) -> torch.device:
    """Where metrics are measured: SSIM is in float64, which only CUDA and the CPU have."""
    return job.runtime.device if job.runtime.device.type == "cuda" else torch.device("cpu")


def _check(card: Card, names: Sequence[str]) -> None:
    """Raise UserError for metrics that these frames and episodes give no value."""
    span = card.end_frame - card.context_frames
    for name in names:
        if min(card.image_size) < (side := MIN_SIDE.get(name, 1)):
            raise UserError(f"--metrics {name}: needs {side} pixels a side, frames are {card.image_size}: leave it out")
        if name in ("fid", "fvd") and span < CLIP:
            raise UserError(f"--metrics {name}: needs {CLIP} generated frames, these are {span}: raise --end")
        if name == "fvd" and card.num_episodes < 2:
            raise UserError("--metrics fvd: needs at least 2 episodes: raise --episodes")
