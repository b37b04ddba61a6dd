"""What the rollouts of a training score, by the means of `mstv evaluate`."""

from typing import NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float

from mstv.callbacks.rolled_episode import RolledEpisode
from mstv.callbacks.turn import Turn
from mstv.data.results import GroundTruth, MetricNote, RevisitMeans, Series, episode_curves
from mstv.evaluation.episode_scoring import score_episode
from mstv.evaluation.metric_set import MIN_SIDE
from mstv.evaluation.revisit_scoring import revisit_means, revisit_note, score_revisits
from mstv.metrics import FramePSNR, FrameSSIM, HorizonMetric


class EpisodeScores(NamedTuple):
    """Of one episode."""

    key: str
    truth: GroundTruth
    psnr: pa.Table
    revisits: pa.Table


class RolloutScores:
    """Scores of the episodes of one turn: PSNR of every frame, and of the revisits PSNR and SSIM.

    Args:
        image_size: (H, W); SSIM is left out of frames that are smaller than its window.
        seed: of the rollout: of the order of the lower bound, and of the draw of other places.
        device: where to measure.
    """

    def __init__(self, image_size: tuple[int, int], seed: int, device: torch.device) -> None:
        self._seed, self._device = seed, device
        self._metrics: list[HorizonMetric] = [FramePSNR()]
        if min(image_size) >= MIN_SIDE["ssim"]:
            self._metrics.append(FrameSSIM())
        self._frames: list[pa.Table] = []
        self._revisits: list[pa.Table] = []
        self._episodes: list[str] = []
        self.truth: GroundTruth = "raw"
        """What the curves are scored against."""

    @property
    def ground_truth(self) -> tuple[GroundTruth, ...]:
        """All that frames were scored against."""
        return ("raw", "decoded") if self.truth == "raw" else ("decoded",)

    @property
    def notes(self) -> tuple[MetricNote, ...]:
        """The metrics and what revisits are, as in the card of an evaluation."""
        cards = [metric.card() for metric in self._metrics]
        notes = [MetricNote(name=card["name"], aggregation=card["aggregation"], definition=card) for card in cards]
        return (*notes, revisit_note())

    def measure(self, rolled: RolledEpisode, turn: Turn) -> EpisodeScores:
        """Score an episode.

        Raises:
            TooDear: it takes longer than there is time for.
            Stopped: the training is asked to stop.
        """
        frames, revisits = {}, []
        for metric in self._metrics:
            turn.stage(1)
            # SSIM costs ten times as much as PSNR; it is wanted where places come back.
            if metric.name == "psnr" or rolled.poses is not None:
                scores = score_episode(rolled.episode, [metric], self._seed, self._device)
                if not rolled.is_recorded:
                    scores = scores.filter(pc.not_equal(scores["ground_truth"], "raw"))
                found = score_revisits(rolled.episode, rolled.poses, [metric], scores, self._seed, self._device)
                frames[metric.name] = scores
                revisits.append(found)
            turn.advance()
        return EpisodeScores(rolled.episode.key, rolled.truth, frames["psnr"], pa.concat_tables(revisits))

    def add(self, scores: EpisodeScores) -> None:
        """Add those of an episode that the turn has finished."""
        self._frames.append(scores.psnr)
        self._revisits.append(scores.revisits)
        self._episodes.append(scores.key)
        self.truth = scores.truth

    def psnr(self) -> dict[Series, Float[np.ndarray, " T"]]:
        """dB at each horizon, means over episodes; no upper bound against decoded frames, which it would be itself."""
        table, found = pa.concat_tables(self._frames), {}
        for series in get_args(Series):
            if curves := episode_curves(table, "psnr", self.truth, series):
                found[series] = curves.values.mean(0)
        return found

    def revisits(self, context_frames: int) -> tuple[RevisitMeans, ...]:
        """The table that `mstv evaluate` makes of these episodes."""
        return revisit_means(pa.concat_tables(self._revisits), self._episodes, context_frames)
