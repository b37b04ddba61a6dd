"""The numbers of a comparison by horizon, for the terminal and for the page."""

from dataclasses import dataclass, replace
from typing import get_args

from rich.table import Table
from rich.text import Text

from mstv.compare.comparison import BoundOwner, Comparison, Entry
from mstv.compare.curves import METRIC_TITLES, series_label
from mstv.data.results import GroundTruth, Series, SeriesSummary, WindowMean

DIGITS = {"psnr": 2, "ssim": 3}


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

    metric: str
    ground_truth: GroundTruth
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Name of the metric with its unit."""
        return METRIC_TITLES.get(self.metric, self.metric)

    def for_terminal(self) -> Table:
        """The same as a rich table."""
        table = Table(title=f"{self.title} against {self.ground_truth} frames, by horizon", title_justify="left")
        table.add_column("run", overflow="fold", min_width=14)
        for column in self.columns:
            table.add_column(column, justify="right", no_wrap=True)
        for row in self.rows:
            bound = row.series != "generated"
            texts = [_terminal_cell(cell) for cell in row.cells]
            table.add_row(Text(row.label), *texts, style="dim" if bound else None)
        return table


def score_tables(comparison: Comparison) -> list[ScoreTable]:
    """A table for each ground truth and metric that was summarised, raw first."""
    kinds = [(metric, truth) for truth in get_args(GroundTruth) for metric in comparison.metrics]
    tables = [_score_table(comparison, metric, truth) for metric, truth in kinds]
    return [table for table in tables if table.rows]


def _score_table(comparison: Comparison, metric: str, truth: GroundTruth) -> ScoreTable:
    runs = [BoundOwner((run,), entry, entry.label) for run, entry in enumerate(comparison.entries)]
    owners: list[tuple[Series, BoundOwner]] = [("upper_bound", owner) for owner in comparison.bound_owners]
    owners += [("generated", owner) for owner in runs]
    owners += [("lower_bound", owner) for owner in comparison.bound_owners]
    found = [(series, owner, series_summary(owner.entry, metric, truth, series)) for series, owner in owners]
    present = [(series, owner, summary) for series, owner, summary in found if summary]
    horizons = sorted({window.horizon for *_, summary in present for window in summary.horizons})
    pooled = any(summary.pooled is not None for *_, summary in present)
    rows = [
        Row(series_label(owner, series), series, owner.run, _cells(summary, horizons, pooled))
        for series, owner, summary in present
    ]
    columns = (*map(str, horizons), "all", *(["pooled"] if pooled else []))
    return ScoreTable(metric, truth, columns, _mark_best(rows))


def series_summary(entry: Entry, metric: str, truth: GroundTruth, series: Series) -> SeriesSummary | None:
    """One metric of a run as summarised, or None if it was not scored."""
    for part in entry.evaluation.summary.values:
        if (part.metric, part.ground_truth, part.series) == (metric, truth, series):
            return part
    return None


def _cells(summary: SeriesSummary, horizons: list[int], pooled: bool) -> tuple[Cell | None, ...]:
    digits = DIGITS.get(summary.metric, 3)

    def cell(window: WindowMean | None) -> Cell | None:
        if window is None:
            return None
        interval = "" if window.interval is None else "{:.{d}f} – {:.{d}f}".format(*window.interval, d=digits)
        return Cell(f"{window.value:.{digits}f}", interval)

    by_horizon = {window.horizon: window for window in summary.horizons}
    cells = [cell(by_horizon.get(horizon)) for horizon in horizons] + [cell(summary.overall)]
    if pooled:
        cells.append(None if summary.pooled is None else Cell(f"{summary.pooled:.{digits}f}"))
    return tuple(cells)


def _mark_best(rows: list[Row]) -> tuple[Row, ...]:
    """Mark the best run of each column as printed, where there are several runs; higher is better in every metric."""
    generated = [row for row in rows if row.series == "generated"]
    if len(generated) < 2:
        return tuple(rows)
    columns = zip(*(row.cells for row in generated), strict=True)
    best = [max((float(cell.value) for cell in column if cell), default=None) for column in columns]

    def marked(row: Row) -> Row:
        cells = [
            replace(cell, best=float(cell.value) == top) if cell else None
            for cell, top in zip(row.cells, best, strict=True)
        ]
        return replace(row, cells=tuple(cells)) if row.series == "generated" else row

    return tuple(marked(row) for row in rows)


def _terminal_cell(cell: Cell | None) -> Text:
    """The number alone: 80 columns have no room for intervals, which the page shows."""
    return Text(cell.value if cell else "", style="bold" if cell and cell.best else "")
