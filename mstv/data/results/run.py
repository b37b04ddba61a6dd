"""A run directory and its evaluations."""

import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mstv.data.other_settings import other_settings
from mstv.data.results.card import Card
from mstv.data.results.layout import (
    CARD,
    CHECKPOINTS,
    CONFIG,
    EVALUATION,
    LEVELS,
    RECORD,
    SUMMARY,
    TRAINING,
    TRUTH,
    VIDEOS,
)
from mstv.data.results.revisits import Revisits, read_revisits
from mstv.data.results.scores import Incomplete, half_written, read_scores
from mstv.data.results.summary import Summary
from mstv.data.results.training import TrainingRecord
from mstv.data.schema import temporary_path
from mstv.errors import UserError

_ELSEWHERE = {"machine", "compiled", "torch_version", "created_by", "metrics", "inverse_dynamics_sha256"}
"""What may differ when an evaluation goes on: it changes latents by their rounding alone, about 5e-7, or not at all."""


@dataclass(frozen=True)
class Evaluation:
    """One complete evaluation of a run."""

    folder: Path
    card: Card
    summary: Summary

    def scores(self) -> pa.Table:
        """Table of `SCORES`; raises UserError as `read_scores`."""
        return read_scores(self.folder)

    def revisits(self) -> dict[str, Revisits]:
        """Generated frames that show a place again, and where it was last seen; as `read_revisits`."""
        return read_revisits(self.folder)

    def video(self, episode: str) -> Path:
        """The generated video of an episode; it may be missing."""
        return self.folder / VIDEOS / f"{episode}.mp4"

    def truth(self, episode: str) -> Path:
        """The recorded video of an episode; it may be missing."""
        return self.folder / TRUTH / f"{episode}.mp4"

    def level_videos(self, episode: str) -> dict[int, Path]:
        """What each of the card's coarse levels shows alone of an episode, finest first; any may be missing."""
        return {level: level_folder(self.folder, level) / f"{episode}.mp4" for level in self.card.coarse_levels}


@dataclass(frozen=True)
class Run:
    """A run directory."""

    folder: Path
    protocols: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def config(self) -> Path:
        """`config.yaml`; it may be missing."""
        return self.folder / CONFIG

    def training_record(self) -> TrainingRecord | None:
        """`run.json`; None if there is no file, as in runs of earlier versions.

        Raises:
            UserError: damaged or of another version.
        """
        path = self.folder / RECORD
        return TrainingRecord.read(path) if path.is_file() else None

    @property
    def training_log(self) -> Path:
        """`metrics.csv`; it may be missing."""
        return self.folder / TRAINING

    def evaluation(self, protocol: str) -> Evaluation:
        """The evaluation of a protocol.

        Raises:
            Incomplete: there is none, or it is half-written.
            UserError: a file is damaged or of another version.
        """
        folder = evaluation_folder(self.folder, protocol)
        if protocol not in self.protocols:
            known = ", ".join(self.protocols) or "none; run mstv evaluate"
            raise Incomplete(f"{folder}: no such evaluation: choose a protocol this run has ({known})")
        card = Card.read(folder / CARD)
        if card.protocol != protocol:
            raise UserError(f"{folder / CARD}: field protocol is {card.protocol}: rename the folder back to that")
        if not (folder / SUMMARY).is_file():
            raise half_written(folder)
        return Evaluation(folder, card, Summary.read(folder / SUMMARY))


def evaluation_folder(run: Path, protocol: str) -> Path:
    """Folder of a run's evaluation under `protocol`."""
    return run / EVALUATION / protocol


def level_folder(evaluation: Path, level: int) -> Path:
    """Folder of a coarse level's latents and videos in an evaluation's folder."""
    return evaluation / LEVELS / str(level)


def read_run(path: Path) -> Run:
    """A run directory and the names of its protocols, sorted.

    Raises:
        UserError: no such folder, or not a run directory.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder: give the folder of a run")
    if (path / CARD).is_file():
        raise UserError(f"{path}: is one evaluation of a run: give the run's folder, {path.resolve().parents[1]}")
    if not any((path / name).exists() for name in (CONFIG, CHECKPOINTS, TRAINING, EVALUATION)):
        raise UserError(f"{path}: holds no {CONFIG}, {CHECKPOINTS} or {EVALUATION}: give the folder of an mstv run")
    cards = sorted((path / EVALUATION).glob(f"*/{CARD}"))
    foreign = sorted(folder for folder in (path / EVALUATION).glob("*/") if not (folder / CARD).is_file())
    if foreign and not cards:
        raise UserError(f"{foreign[0]}: holds no {CARD}: it is old or foreign, evaluate again with this version")
    return Run(path, tuple(card.parent.name for card in cards))


def begin_evaluation(folder: Path, card: Card) -> Card:
    """Write the card, or find it written by an earlier try or by another process of the job; returns what stands there.

    Which metrics it names is no matter here, see `declare_metrics`.

    Raises:
        UserError: the folder holds another evaluation, so that resuming would mix numbers.
    """
    if not (folder / CARD).exists():
        _write_first(folder / CARD, card)
    before = Card.read(folder / CARD)
    changed = [name for name in Card.model_fields if getattr(before, name) != getattr(card, name)]
    # A card of an earlier version does not know them; it goes on without the coarse levels.
    unknown = [name for name in ("latents_sha256", "coarse_levels") if not getattr(before, name)]
    if changed := [name for name in changed if name not in _ELSEWHERE and name not in unknown]:
        raise UserError(f"{folder / CARD}: {other_settings(before, card, changed)}")
    return before


def _write_first(path: Path, card: Card) -> None:
    """Write the card unless another process wrote one in the same moment."""
    with temporary_path(path) as temporary:
        temporary.write_bytes(card.to_bytes())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(temporary, path)
