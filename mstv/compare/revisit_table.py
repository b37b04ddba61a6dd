"""What the runs show where the walk comes back, by how long ago the place was seen: for the terminal and the page."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rich.table import Table

from mstv.compare.comparison import BoundOwner, Comparison
from mstv.compare.curves import series_label
from mstv.compare.score_table import Cell, Row, mark_best, terminal_table
from mstv.compare.shown_metric import ShownMetric
from mstv.data.results import GapMean, Reference, RevisitMeans, Series

ELSEWHERE = "own frame of another place"
_Rows = list[tuple[BoundOwner, Series, str, RevisitMeans]]


@dataclass(frozen=True)
class RevisitTable:
    """One metric of the frames that show a place again; upper bound, runs, lower bound, then how many frames these are.

    Against the model's own earlier frames each run has a second row: its frames of other places. It remembers as far
    as it is better than that.
    """

    metric: ShownMetric
    reference: Literal["raw", "decoded", "own"]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Name of the metric with its unit, and what is compared."""
        if self.reference != "own":
            return self.metric.against(self.reference)
        return self.metric.against("raw").replace("raw frames", "the model's own earlier frame of the place")

    def for_terminal(self) -> Table:
        """The same as a rich table."""
        return terminal_table(f"Revisits: {self.title}, by frames since it was seen", self.columns, self.rows)


def revisit_tables(comparison: Comparison) -> list[RevisitTable]:
    """For each metric a table against the recorded (else the decoded) frames, and one against the model's own."""
    tables = []
    for metric in comparison.metrics:
        references: list[Literal["raw", "decoded", "own"]] = ["raw", "decoded", "own"]
        by_reference = {reference: list(_found(comparison, metric.name, reference)) for reference in references}
        truth = references[0] if by_reference["raw"] else references[1]
        for reference in (truth, references[2]):
            if by_reference[reference]:
                others = list(_found(comparison, metric.name, "elsewhere")) if reference == "own" else []
                tables.append(_table(metric, reference, by_reference[reference], others))
    return tables


def _found(comparison: Comparison, metric: str, reference: Reference) -> Iterator[tuple[BoundOwner, Series, RevisitMeans]]:
    """What was summarised: upper bounds, runs, lower bounds."""
    runs = tuple(BoundOwner((run,), entry, entry.label) for run, entry in enumerate(comparison.entries))
    owners: list[tuple[Series, tuple[BoundOwner, ...]]] = [("upper_bound", comparison.bound_owners)]
    owners += [("generated", runs), ("lower_bound", comparison.bound_owners)]
    for series, group in owners:
        for owner in group:
            for part in owner.entry.evaluation.summary.revisits:
                if (part.metric, part.reference, part.series, part.seen_in) == (metric, reference, series, "anywhere"):
                    yield owner, series, part
