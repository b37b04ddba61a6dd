"""Which metrics an evaluation is to have, which it has, and which its episodes lack."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc

from mstv.data.results.actions import ACTION_FOLLOWING
from mstv.data.results.card import Card, MetricNote
from mstv.data.results.distances import read_distances, read_features
from mstv.data.results.layout import ACTION_FILE, CARD, REVISIT_SCORE_FILE, SCORE_FILE, SUMMARY
from mstv.data.results.revisit_scores import REVISITS
from mstv.data.results.scores import read_episode_scores, read_scores
from mstv.data.results.summary import Summary
from mstv.errors import UserError


def declare_metrics(folder: Path, notes: Sequence[MetricNote]) -> Card:
    """Write into the card which metrics are scored: those that all episodes have already, and `notes`.

    Every process of a job may call it, with the same notes.

    Raises:
        UserError: the evaluation has a metric of the same name by another definition.
    """
    card = Card.read(folder / CARD)
    merged = merged_metrics(folder)
    begun = merged.union(*(episode_metrics(folder, episode) for episode in card.episodes))
    asked = {note.name: note for note in notes}
    for note in card.metrics:
        if note.name in asked and note.name in begun and (changed := note.differences(asked[note.name])):
            raise UserError(
                f"{folder / CARD}: {note.name} was measured by another definition ({', '.join(changed)}): "
                "name another with --protocol NAME, or delete its folder"
            )
    kept = [note for note in card.metrics if note.name in merged]
    metrics = (*kept, *(note for note in notes if note.name not in merged))
    if metrics != card.metrics:
        card = card.model_copy(update={"metrics": metrics})
        card.write(folder / CARD)
    return card


def note_action_following(folder: Path, note: MetricNote, inverse_dynamics_sha256: str) -> None:
    """Write into the card by what model, and how, actions were told; what stands there of another one is replaced."""
    card = Card.read(folder / CARD)
    metrics = (*(kept for kept in card.metrics if kept.name != ACTION_FOLLOWING), note)
    changed = card.model_copy(update={"metrics": metrics, "inverse_dynamics_sha256": inverse_dynamics_sha256})
    if changed != card:
        changed.write(folder / CARD)


def scored_metrics(card: Card) -> list[str]:
    """Metrics of a card that have values for frames or distances: all that `mstv evaluate --metrics` names."""
    return [note.name for note in card.metrics if note.name not in (ACTION_FOLLOWING, REVISITS)]


def summarised_metrics(folder: Path) -> set[str]:
    """Metrics of a finished evaluation."""
    path = folder / SUMMARY
    return {value.metric for value in Summary.read(path).values} if path.is_file() else set()


def merged_metrics(folder: Path) -> set[str]:
    """Metrics that all episodes have, and notes of what else they have."""
    merged = {value.metric for value in read_distances(folder)}
    if (folder / SCORE_FILE).is_file():
        merged |= set(pc.unique(read_scores(folder)["metric"]).to_pylist())
    notes = {ACTION_FOLLOWING: ACTION_FILE, REVISITS: REVISIT_SCORE_FILE}
    merged |= {name for name, file in notes.items() if (folder / file).is_file()}
    return merged


def episode_metrics(folder: Path, episode: str) -> set[str]:
    """Metrics of an episode that is not merged yet."""
    scores = read_episode_scores(folder, episode)
    measured = set(pc.unique(scores["metric"]).to_pylist()) if scores else set()
    return measured | {name.split(".")[0] for name in read_features(folder, episode)}
