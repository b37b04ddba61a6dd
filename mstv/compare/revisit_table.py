"""What the runs show where the walk comes back, by how long ago the place was seen: for the terminal and the page."""

from dataclasses import dataclass, replace
from typing import Literal

from rich.console import Group

from mstv.compare.comparison import BoundOwner, Comparison
from mstv.compare.curves import series_label
from mstv.compare.score_table import Cell, Row, mark_best, terminal_table
from mstv.compare.shown_metric import HINTS, ShownMetric
from mstv.data.results import REVISIT_GAPS, GapMean, Reference, RevisitMeans, Series

Shown = Literal["raw", "decoded", "own"]
AGAINST: dict[Shown, str] = {
    "raw": "the recorded frame",
    "decoded": "the decoded true frame",
    "own": "the video's own earlier frame of the place",
}
ELSEWHERE = "own frames of other places"


@dataclass(frozen=True)
class RevisitTable:
    """One metric of the frames that show a place again: upper bound, runs, lower bound, and how many frames these are.

    Against the video's own frames each run has a second row, its own frames of other places: it remembers as far as it
    is better than that.
    """

    metric: ShownMetric
    reference: Shown
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Name of the metric with its unit, and what frames are compared with."""
        return f"{self.metric.title} against {AGAINST[self.reference]}{HINTS[self.metric.better]}"

    def for_terminal(self) -> Group:
        """The same for rich."""
        *rows, count = self.rows
        cells = (cell and replace(cell, value=cell.value.replace(" ", "\n")) for cell in count.cells)
        rows.append(replace(count, cells=tuple(cells)))  # narrower: frames above episodes
        return terminal_table(f"Revisits, {self.title}, by frames since it was seen", self.columns, rows)


def revisit_tables(comparison: Comparison) -> list[RevisitTable]:
    """For each metric a table against the recorded frames (else the decoded ones), and one against the video's own."""
    tables = []
    for metric in comparison.metrics:
        of_truth = [table for truth in ("raw", "decoded") if (table := _table(comparison, metric, truth))]
        tables += of_truth[:1]
        if own := _table(comparison, metric, "own"):
            tables.append(own)
    return tables


@dataclass(frozen=True)
class _Found:
    """A row before its columns are known."""

    label: str
    series: Series
    run: int | None
    means: RevisitMeans


def _table(comparison: Comparison, metric: ShownMetric, reference: Shown) -> RevisitTable | None:
    runs = tuple(BoundOwner((run,), entry, entry.label) for run, entry in enumerate(comparison.entries))
    bounds = comparison.bound_owners
    found = _rows(bounds, metric, reference, "upper_bound")
    found += _rows(runs, metric, reference, "generated")
    if reference == "own":
        others = _rows(runs, metric, "elsewhere", "generated")
        found += [replace(row, label=f"{row.label}: {ELSEWHERE}", series="lower_bound") for row in others]
    found += _rows(bounds, metric, reference, "lower_bound")
    if not found:
        return None
    largest = max((row.means for row in found), key=lambda means: means.overall.num_frames)
    gaps = sorted({part.first_gap for row in found for part in row.means.gaps})
    rows = mark_best([Row(row.label, row.series, row.run, _cells(row.means, metric, gaps)) for row in found], metric)
    counts = [_count(part) for part in _by_column(largest, gaps)]
    return RevisitTable(
        metric,
        reference,
        (*map(_bounds, gaps), "all"),
        (*rows, Row("frames (episodes)", "lower_bound", None, tuple(counts))),
    )


def _bounds(gap: int) -> str:
    """What the bin with this first gap holds; only the last of all bins has no end."""
    following = next((first for first in REVISIT_GAPS if first > gap), None)
    return f"{gap}+" if following is None else f"{gap}–{following - 1}"


def _rows(owners: tuple[BoundOwner, ...], metric: ShownMetric, reference: Reference, series: Series) -> list[_Found]:
    return [
        _Found(series_label(owner, series), series, owner.run, part)
        for owner in owners
        for part in owner.entry.evaluation.summary.revisits
        if (part.metric, part.reference, part.series, part.seen_in) == (metric.name, reference, series, "anywhere")
    ]


def _by_column(means: RevisitMeans, gaps: list[int]) -> list[GapMean | None]:
    known = {part.first_gap: part for part in means.gaps}
    return [*(known.get(gap) for gap in gaps), means.overall]


def _cells(means: RevisitMeans, metric: ShownMetric, gaps: list[int]) -> tuple[Cell | None, ...]:
    def cell(part: GapMean | None) -> Cell | None:
        if part is None:
            return None
        interval = "" if part.interval is None else " – ".join(map(metric.text, part.interval))
        return Cell(metric.text(part.value), interval)

    return tuple(cell(part) for part in _by_column(means, gaps))


def _count(part: GapMean | None) -> Cell | None:
    return None if part is None else Cell(f"{part.num_frames} ({part.num_episodes})")
