"""What each run's quality costs: tokens, time and training, as far as its files know."""

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from mstv.compare.comparison import Comparison, Entry
from mstv.compare.score_table import series_summary
from mstv.compare.shown_metric import ShownMetric


@dataclass(frozen=True)
class CostCell:
    """A value as text, and as the number to sort by; None where it is unknown."""

    text: str
    number: int | float | None

    @staticmethod
    def of(number: int | float | None, form: str = "{:,.0f}") -> "CostCell":
        """A number in a format."""
        return CostCell("unknown" if number is None else form.format(number), number)

    @staticmethod
    def of_time(seconds: float | None) -> "CostCell":
        """A time as one reads it."""
        return CostCell("unknown" if seconds is None else duration(seconds), seconds)


@dataclass(frozen=True)
class CostTable:
    """A row for each run, in order.

    Columns: quality over all horizons; token evaluations per generated frame; the most tokens of a step; generated
    frames per second; wall clock of rolling out all episodes; training steps; time of training alone.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[CostCell, ...], ...]
    labels: tuple[str, ...]

    def for_terminal(self) -> Table:
        """The same as a rich table, without what the other tables and columns say."""
        table = Table(title="Cost (evals: token evaluations)", title_justify="left")
        table.add_column("run", overflow="fold", min_width=14)
        told = [index for index, name in enumerate(self.columns) if index and name != "rollout"]
        for index in told:
            table.add_column(self.columns[index], justify="right", no_wrap=True)
        for label, row in zip(self.labels, self.rows, strict=True):
            table.add_row(Text(label), *(row[index].text for index in told))
        return table


def cost_table(comparison: Comparison) -> CostTable:
    """Quality over all horizons, then what it took.

    Raises:
        UserError: a training log is damaged.
    """
    metric = comparison.metrics[0]
    quality = f"{metric.title}, all"
    columns = (quality, "evals/frame", "tokens/step", "frames/s", "rollout", "steps", "training")
    rows = tuple(_row(entry, metric) for entry in comparison.entries)
    return CostTable(columns, rows, tuple(entry.label for entry in comparison.entries))


def _row(entry: Entry, metric: ShownMetric) -> tuple[CostCell, ...]:
    card, summary = entry.card, entry.evaluation.summary
    summarised = series_summary(entry, metric.name, card.ground_truth[0], "generated")
    quality = summarised.overall if summarised else None
    seconds = summary.rollout_seconds
    return (
        CostCell(metric.text(quality.value), quality.value) if quality else CostCell.of(None),
        CostCell.of(card.token_evaluations_per_frame),
        CostCell.of(card.max_tokens_per_step),
        CostCell.of(summary.frames_per_second, "{:,.3g}"),
        CostCell.of_time(seconds),
        CostCell.of(entry.training.num_steps),
        CostCell.of_time(entry.training.seconds),
    )


def duration(seconds: float) -> str:
    """Seconds as one reads them."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:,.3g} h"
