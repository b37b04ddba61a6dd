"""The HTML page of a comparison: one file that needs no network and works from file://."""

from pathlib import Path

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from mstv.compare.action_table import action_tables
from mstv.compare.cards import card_rows
from mstv.compare.comparison import Comparison
from mstv.compare.configuration import configurations
from mstv.compare.cost import cost_table
from mstv.compare.page_data import page_data
from mstv.compare.revisit_table import revisit_tables
from mstv.compare.score_table import score_tables
from mstv.compare.wall import wall
from mstv.data.results import INTERVAL, MIN_GAP, REVISIT_STATISTIC, WINDOW
from mstv.data.schema import MAKER, atomic_path

TEMPLATES = Path(__file__).parent / "templates"
STYLES = ("page.css", "tables.css", "wall.css")
SCRIPTS = (
    *("runs.js", "tables.js", "strips.js", "player.js", "revisits.js", "levels.js", "keys.js"),
    *("chart_style.js", "charts.js"),
)
PIXELATED_BELOW = 200
"""Frames narrower than this many pixels are enlarged without smoothing, so that one sees their pixels."""
DASHES = ("", "9 3", "9 3 2 3", "3 2", "14 4")
"""Of lines: colours repeat after eight runs, so each eight have a pattern of their own."""
SHOWN_AT_FIRST = 8
"""Of more runs, curves and videos show so many until others are chosen."""


def write_page(comparison: Comparison, out: Path, title: str | None = None, embed: bool = False) -> None:
    """Write the page, atomically.

    Args:
        comparison: the runs.
        out: the file; linked videos are given relative to its folder.
        title: heading; None makes one from the protocol.
        embed: put the videos into the page, so that the file can be sent alone.

    Raises:
        UserError: `out` cannot be written, or a run's file is damaged.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":"), "sort_keys": True}
    rows = wall(comparison, out, embed)
    costs = cost_table(comparison)
    html = environment.get_template("page.html.jinja").render(
        title=title or _title(comparison),
        comparison=comparison,
        card=comparison.card,
        card_rows=card_rows(comparison),
        settings=configurations(comparison),
        tables=score_tables(comparison),
        revisit_tables=revisit_tables(comparison),
        action_tables=action_tables(comparison),
        revisit_statistic=REVISIT_STATISTIC,
        distances=any(metric.name in ("fid", "fvd") for metric in comparison.metrics),
        ground_truths=[
            truth for truth in ("raw", "decoded") if any(truth in e.card.ground_truth for e in comparison.entries)
        ],
        costs=costs,
        rows=rows,
        num_training=sum(bool(entry.training.curves) for entry in comparison.entries),
        levels=any(screen.levels for row in rows for screen in row.screens),
        pixelated=max(comparison.card.image_size) < PIXELATED_BELOW,
        dashes=DASHES,
        shown_at_first=SHOWN_AT_FIRST,
        data=page_data(comparison, rows, costs) | {"dashes": DASHES},
        window=WINDOW,
        interval=INTERVAL,
        min_gap=MIN_GAP,
        maker=MAKER,
        plotly=Markup(get_plotlyjs()),
        styles=[_text(name) for name in STYLES],
        scripts=[_text(name) for name in SCRIPTS],
    )
    with atomic_path(out) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _title(comparison: Comparison) -> str:
    labels = [entry.label for entry in comparison.entries]
    return f"{' vs '.join(labels) if len(labels) < 4 else f'{len(labels)} runs'} on {comparison.protocol}"


def _text(name: str) -> Markup:
    """A file of ours that goes into the page as it is."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
