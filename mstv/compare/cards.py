"""What was evaluated, run by run: the metric cards as a table that shows where the runs differ."""

import json
from dataclasses import dataclass

from mstv.compare.comparison import Comparison
from mstv.data.results import Card


@dataclass(frozen=True)
class CardRow:
    """One field of several runs; `cells` has one entry if all runs agree."""

    field: str
    cells: tuple[str, ...]

    @staticmethod
    def of(field: str, cells: list[str]) -> "CardRow":
        """A row of the runs' values."""
        return CardRow(field, tuple(cells if len(set(cells)) > 1 else cells[:1]))

    @property
    def differs(self) -> bool:
        """Whether the runs do not all agree."""
        return len(self.cells) > 1


def card_rows(comparison: Comparison) -> list[CardRow]:
    """The cards as a table with a column for each run; fields on which all agree have one cell."""
    cards = [entry.card for entry in comparison.entries]
    columns: dict[str, list[str]] = {
        "split": [card.split for card in cards],
        "episodes": [f"{card.num_episodes}: {card.selection}" for card in cards],
        "frames": [f"{c.context_frames} of context, generated to {c.end_frame}, {c.fps:g} per second" for c in cards],
        "image": [f"{card.image_size[0]} × {card.image_size[1]}" for card in cards],
        "seed": [str(card.seed) for card in cards],
        "sampler": [_sampler(card) for card in cards],
        "attention": [card.attention for card in cards],
        "plan": [_plan(card) for card in cards],
        "precision": [card.precision + (", compiled" if card.compiled else "") for card in cards],
        **{metric.name: [_metric(card, metric.name) for card in cards] for metric in comparison.metrics},
        "checkpoint": [f"{card.checkpoint} ({card.checkpoint_sha256[:12]})" for card in cards],
        "tokenizer": [card.tokenizer_sha256[:12] for card in cards],
        "data": [card.data_sha256[:12] for card in cards],
        "machine": [f"{card.machine}, torch {card.torch_version}" for card in cards],
    }
    return [CardRow.of(name, cells) for name, cells in columns.items()]


def _metric(card: Card, name: str) -> str:
    """What defines a metric, as far as its card tells."""
    note = next((note for note in card.metrics if note.name == name), None)
    if note is None:
        return "not measured"
    told = {key: value for key, value in (note.definition or {}).items() if key not in ("name", "aggregation")}
    values = (f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in told.items())
    return "; ".join([note.aggregation, *values])


def _sampler(card: Card) -> str:
    """How steps were sampled; what is as usual goes without saying."""
    nfe = card.nfe if isinstance(card.nfe, int) else " / ".join(map(str, card.nfe)) + " by level"
    parts = [card.sampler, f"NFE {nfe}", f"guidance {card.guidance:g}"]
    if card.context_refresh > 1:
        parts.append(f"context refreshed every {card.context_refresh} evaluations")
    if card.context_noise:
        parts.append(f"context noise {card.context_noise:g}")
    return ", ".join(parts)


def _plan(card: Card) -> str:
    parameters = ", ".join(f"{name} {value}" for name, value in card.plan.parameters.items())
    return f"{card.plan.family} ({parameters})" if parameters else card.plan.family
