"""How well runs follow their actions, for the terminal and for the page."""

from dataclasses import dataclass
from typing import get_args

from rich.console import Group

from mstv.compare.comparison import Comparison, Entry
from mstv.compare.score_table import Cell, Row, terminal_table
from mstv.data.results.actions import ActionSeries, ActionSummary

LABELS: dict[ActionSeries, str] = {
    "recorded": "recorded frames",
    "upper_bound": "upper bound",
    "generated": "generated",
    "lower_bound": "lower bound",
}
NAMES = {"macro_f1": "macro F1", "f1": "F1", "mae": "error"}
MOST_NAMES = 6
"""Of more actions or columns `actions.parquet` has each; the table has them together alone."""
Column = tuple[str, str, int | None]
"""(metric, name of the action or column, horizon; None for all frames)."""


@dataclass(frozen=True)
class ActionTable:
    """Scores of the actions that one model told from frames: of the recording, both bounds and the runs."""

    sha256: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """What is compared, and by which model."""
        return f"Actions told from frames by model {self.sha256[:8]}, against those given"

    def for_terminal(self) -> Group:
        """The same for rich."""
        return terminal_table(self.title, self.columns, self.rows)


def action_tables(comparison: Comparison) -> list[ActionTable]:
    """A table for each model that told actions; numbers of different models do not compare."""
    models: dict[str, list[tuple[int, Entry, ActionSummary]]] = {}
    for run, entry in enumerate(comparison.entries):
        if (actions := entry.evaluation.summary.actions) is not None:
            models.setdefault(actions.inverse_dynamics_sha256, []).append((run, entry, actions))
    return [_table(sha256, runs) for sha256, runs in models.items()]


def _table(sha256: str, runs: list[tuple[int, Entry, ActionSummary]]) -> ActionTable:
    columns = _columns(runs[0][2])
    rows = []
    for series in get_args(ActionSeries):
        if series == "generated":
            rows += [_row(entry.label, run, series, actions, columns) for run, entry, actions in runs]
        else:
            rows.append(_row(LABELS[series], None, series, runs[0][2], columns))
    units = runs[0][2].units
    return ActionTable(sha256, tuple(_title(*column, units) for column in columns), tuple(rows))


def _columns(summary: ActionSummary) -> list[Column]:
    """Accuracy at each horizon, then every score of all frames."""
    horizons = {w.horizon for score in summary.scores if score.metric == "accuracy" for w in score.horizons}
    overall = list(dict.fromkeys((score.metric, score.name) for score in summary.scores))
    few = len({name for _, name in overall if name}) <= MOST_NAMES
    kept: list[Column] = [("accuracy", "", horizon) for horizon in sorted(horizons)]
    return kept + [(metric, name, None) for metric, name in overall if few or not name]


def _title(metric: str, name: str, horizon: int | None, units: dict[str, str]) -> str:
    unit = f" ({units[name]})" if metric == "mae" else ""
    return " ".join(filter(None, (NAMES.get(metric, metric), name + unit, str(horizon or ""))))


def _row(label: str, run: int | None, series: ActionSeries, summary: ActionSummary, columns: list[Column]) -> Row:
    cells = []
    for metric, name, horizon in columns:
        score = summary.score(series, metric, name)
        windows = [] if score is None else [w for w in score.horizons if w.horizon == horizon]
        window = score.overall if score and horizon is None else next(iter(windows), None)
        interval = "" if window is None or window.interval is None else "{:.3f} – {:.3f}".format(*window.interval)
        cells.append(None if window is None else Cell(f"{window.value:.3f}", interval))
    # To the table, the recording is a bound like the others.
    return Row(label, "upper_bound" if series == "recorded" else series, run, tuple(cells))
