"""The HTML page of a comparison: one file that needs no network and works from file://."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from mstv.compare.comparison import Comparison
from mstv.compare.curves import Curve, panels
from mstv.compare.score_table import score_tables
from mstv.compare.training_log import read_training_log
from mstv.compare.wall import WallRow, wall
from mstv.data.results import INTERVAL, WINDOW, Card
from mstv.data.schema import MAKER, atomic_path
from mstv.errors import UserError

HERE = Path(__file__).parent
PIXELATED_BELOW = 200
"""Frames narrower than this many pixels are enlarged without smoothing, so that one sees their pixels."""


@dataclass(frozen=True)
class CardRow:
    """One field of the runs' cards; `cells` has one entry if all runs agree."""

    field: str
    cells: tuple[str, ...]


def write_page(comparison: Comparison, out: Path, title: str | None = None, embed: bool = False) -> None:
    """Write the page, atomically.

    Args:
        comparison: the runs.
        out: the file; linked videos are given relative to its folder.
        title: heading; None makes one from the protocol.
        embed: put the videos into the page, so that the file can be sent alone.

    Raises:
        UserError: `out` is a folder or cannot be written, or a run's file is damaged.
    """
    if out.is_dir():
        raise UserError(f"{out}: is a folder: give --out the name of a file, such as {out / 'compare.html'}")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":"), "sort_keys": True}
    rows = wall(comparison, out, embed)
    first = comparison.card
    html = environment.get_template("page.html.jinja").render(
        title=title or _title(comparison),
        comparison=comparison,
        card=first,
        card_rows=card_rows(comparison),
        tables=score_tables(comparison),
        ground_truths=[
            truth for truth in ("raw", "decoded") if any(truth in e.card.ground_truth for e in comparison.entries)
        ],
        rows=rows,
        num_training=sum(entry.run.training_log.is_file() for entry in comparison.entries),
        pixelated=max(first.image_size) < PIXELATED_BELOW,
        data=page_data(comparison, rows),
        window=WINDOW,
        interval=INTERVAL,
        maker=MAKER,
        plotly=Markup(get_plotlyjs()),
        style=_text("page.css"),
        scripts=[_text("charts.js"), _text("player.js")],
    )
    with atomic_path(out) as temporary:
        temporary.write_text(html, encoding="utf-8")


def card_rows(comparison: Comparison) -> list[CardRow]:
    """The cards as a table with a column for each run; fields on which all agree have one cell."""
    cards = [entry.card for entry in comparison.entries]
    rates = [entry.evaluation.summary.frames_per_second for entry in comparison.entries]
    columns: dict[str, list[str]] = {
        "split": [card.split for card in cards],
        "episodes": [f"{card.num_episodes}: {card.selection}" for card in cards],
        "frames": [f"{c.context_frames} of context, generated to {c.end_frame}, {c.fps:g} per second" for c in cards],
        "image": [f"{card.image_size[0]} × {card.image_size[1]}" for card in cards],
        "seed": [str(card.seed) for card in cards],
        "sampler": [_sampler(card) for card in cards],
        "attention": [card.attention for card in cards],
        "plan": [_plan(card) for card in cards],
        "tokens per step, most": [f"{card.max_tokens_per_step:,}" for card in cards],
        "token evaluations per frame": [f"{card.token_evaluations_per_frame:,.0f}" for card in cards],
        "speed": ["not measured" if rate is None else f"{rate:.3g} frames/s" for rate in rates],
        "metrics": ["; ".join(f"{note.name}: {note.aggregation}" for note in card.metrics) for card in cards],
        "checkpoint": [f"{card.checkpoint} ({card.checkpoint_sha256[:12]})" for card in cards],
        "tokenizer": [card.tokenizer_sha256[:12] for card in cards],
        "data": [card.data_sha256[:12] for card in cards],
        "machine": [f"{card.machine}, torch {card.torch_version}" for card in cards],
    }
    return [CardRow(name, tuple(cells if len(set(cells)) > 1 else cells[:1])) for name, cells in columns.items()]


def _sampler(card: Card) -> str:
    """How steps were sampled; what is as usual goes without saying."""
    nfe = card.nfe if isinstance(card.nfe, int) else " / ".join(map(str, card.nfe)) + " by level"
    parts = [card.sampler, f"NFE {nfe}", f"guidance {card.guidance:g}"]
    if card.context_refresh > 1:
        parts.append(f"context refreshed every {card.context_refresh} evaluations")
    if card.context_noise:
        parts.append(f"context noise {card.context_noise:g}")
    return ", ".join(parts)


def page_data(comparison: Comparison, rows: Sequence[WallRow]) -> dict[str, Any]:
    """What the page's scripts draw, ready for JSON."""
    card = comparison.card
    training = [read_training_log(entry.run.training_log) for entry in comparison.entries]
    names = list(dict.fromkeys(curve.name for curves in training for curve in curves))
    return {
        "runs": [entry.label for entry in comparison.entries],
        "context": card.context_frames,
        "first": card.video_first_frame,
        "end": card.end_frame,
        "fps": card.fps,
        "panels": [
            {
                "metric": panel.metric,
                "title": panel.title,
                "truth": panel.ground_truth,
                "curves": [_curve(curve) for curve in panel.curves],
            }
            for panel in panels(comparison)
        ],
        "training": [
            {
                "name": name,
                "curves": [
                    {"run": run, "x": curve.step, "y": curve.value, "group": curve.values_per_point}
                    for run, curves in enumerate(training)
                    for curve in curves
                    if curve.name == name
                ],
            }
            for name in names
        ],
        "strips": [[screen.psnr for screen in row.screens] for row in rows],
    }


def _curve(curve: Curve) -> dict[str, Any]:
    low, high = curve.interval or (None, None)
    return {
        "run": curve.run,
        "label": curve.label,
        "series": curve.series,
        "x": curve.horizon.tolist(),
        "y": _rounded(curve.mean),
        "low": None if low is None else _rounded(low),
        "high": None if high is None else _rounded(high),
    }


def _rounded(values: Float[np.ndarray, " H"]) -> list[float]:
    """Four decimals are more than one sees; they keep the page small."""
    return [float(value) for value in np.round(values, 4)]


def _title(comparison: Comparison) -> str:
    labels = [entry.label for entry in comparison.entries]
    return f"{' vs '.join(labels) if len(labels) < 4 else f'{len(labels)} runs'} on {comparison.protocol}"


def _plan(card: Card) -> str:
    parameters = ", ".join(f"{name} {value}" for name, value in card.plan.parameters.items())
    return f"{card.plan.family} ({parameters})" if parameters else card.plan.family


def _text(name: str) -> Markup:
    """A file of ours that goes into the page as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8"))
