"""The numbers of a comparison by horizon, for the terminal and for the page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mstv.compare.comparison import BoundOwner, Comparison, Entry
from mstv.compare.curves import series_label
from mstv.compare.shown_metric import ShownMetric
from mstv.data.results import GroundTruth, Series, SeriesSummary, WindowMean

_TERMINAL = 80
"""Columns that a terminal has at least, and that a pipe is given."""
_LABEL = 14
"""Columns that a run's name has at least; longer ones are folded."""


@dataclass(frozen=True)
class Cell:
    """One number as text."""

    value: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A run, or a bound (`run` None where all runs share it)."""

    label: str
    series: Series
    run: int | None
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class ScoreTable:
    """One metric against one ground truth; upper bound, runs, lower bound."""

    metric: ShownMetric
    ground_truth: GroundTruth
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Name of the metric with its unit, and what it compares with."""
        return self.metric.against(self.ground_truth)

    def for_terminal(self) -> Group:
        """The same for rich."""
        return terminal_table(f"{self.title}, by horizon", self.columns, self.rows)


def terminal_table(title: str, columns: Sequence[str], rows: Sequence[Row]) -> Group:
    """Rows as a rich table of 80 columns, without spaces beside its lines or in several parts where it must.

    Bounds are dim.
    """
    cells = zip(*(row.cells for row in rows), strict=True)
    widths = [
        max(map(len, [column, *(line for cell in values if cell for line in cell.value.split("\n"))]))
        for column, values in zip(columns, cells, strict=True)
    ]
    # Each column has a line and two spaces; there is a line more.
    spacious = 1 + (_LABEL + 3) + sum(width + 3 for width in widths) <= _TERMINAL
    parts: list[list[int]] = [[]]
    left = room = _TERMINAL - 2 - _LABEL
    for column, width in enumerate(widths):
        needed = width + (3 if spacious else 1)
        if needed > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= needed
    tables: list[Table] = []
    for part in parts:
        heading = None if tables else title
        table = Table(title=heading, title_justify="left", padding=(0, 1) if spacious else 0)
        table.add_column("run", overflow="fold", min_width=_LABEL)
        for column in part:
            table.add_column(columns[column], justify="right", no_wrap=True)
        for row in rows:
            bound = row.series != "generated"
            texts = [_terminal_cell(row.cells[column]) for column in part]
            table.add_row(Text(row.label), *texts, style="dim" if bound else None)
        tables.append(table)
    return Group(*tables)


def score_tables(comparison: Comparison) -> list[ScoreTable]:
    """A table for each ground truth and metric that was summarised, raw first."""
    kinds = [(metric, truth) for truth in get_args(GroundTruth) for metric in comparison.metrics]
    tables = [_score_table(comparison, metric, truth) for metric, truth in kinds]
    return [table for table in tables if table.rows]


def _score_table(comparison: Comparison, metric: ShownMetric, truth: GroundTruth) -> ScoreTable:
    runs = [BoundOwner((run,), entry, entry.label) for run, entry in enumerate(comparison.entries)]
    owners: list[tuple[Series, BoundOwner]] = [("upper_bound", owner) for owner in comparison.bound_owners]
    owners += [("generated", owner) for owner in runs]
    owners += [("lower_bound", owner) for owner in comparison.bound_owners]
    found = [(series, owner, series_summary(owner.entry, metric.name, truth, series)) for series, owner in owners]
    present = [(series, owner, summary) for series, owner, summary in found if summary]
    horizons = sorted({window.horizon for *_, summary in present for window in summary.horizons})
    more = [
        name
        for name, known in (("all", "overall"), ("pooled", "pooled"))
        if any(getattr(summary, known) is not None for *_, summary in present)
    ]
    rows = [
        Row(series_label(owner, series), series, owner.run, _cells(summary, metric, horizons, more))
        for series, owner, summary in present
    ]
    return ScoreTable(metric, truth, (*map(str, horizons), *more), mark_best(rows, metric))


def series_summary(entry: Entry, metric: str, truth: GroundTruth, series: Series) -> SeriesSummary | None:
    """One metric of a run as summarised, or None if it was not scored."""
    for part in entry.evaluation.summary.values:
        if (part.metric, part.ground_truth, part.series) == (metric, truth, series):
            return part
    return None


def _cells(
    summary: SeriesSummary, metric: ShownMetric, horizons: list[int], more: list[str]
) -> tuple[Cell | None, ...]:
    def cell(window: WindowMean | None) -> Cell | None:
        if window is None:
            return None
        interval = "" if window.interval is None else " – ".join(map(metric.text, window.interval))
        return Cell(metric.text(window.value), interval)

    by_horizon = {window.horizon: window for window in summary.horizons}
    cells = [cell(by_horizon.get(horizon)) for horizon in horizons]
    if "all" in more:
        cells.append(cell(summary.overall))
    if "pooled" in more:
        cells.append(None if summary.pooled is None else Cell(metric.text(summary.pooled)))
    return tuple(cells)


def mark_best(rows: list[Row], metric: ShownMetric) -> tuple[Row, ...]:
    """Mark the best run of each column as printed, where there are several runs."""
    generated = [row for row in rows if row.series == "generated"]
    if len(generated) < 2:
        return tuple(rows)

    def rank(cell: Cell) -> float:
        return metric.rank(float(cell.value))

    columns = zip(*(row.cells for row in generated), strict=True)
    best = [max((rank(cell) for cell in column if cell), default=None) for column in columns]

    def marked(row: Row) -> Row:
        cells = [
            replace(cell, best=rank(cell) == top) if cell else None for cell, top in zip(row.cells, best, strict=True)
        ]
        return replace(row, cells=tuple(cells)) if row.series == "generated" else row

    return tuple(marked(row) for row in rows)


def _terminal_cell(cell: Cell | None) -> Text:
    """The number alone: 80 columns have no room for intervals, which the page shows."""
    return Text(cell.value if cell else "", style="bold" if cell and cell.best else "")
