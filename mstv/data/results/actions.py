"""How well rollouts follow their actions: `actions.parquet`, a row per episode and score, and their summary."""

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from mstv.data.results.card import Part
from mstv.data.results.layout import ACTION_FILE
from mstv.data.results.parquet_table import METADATA, make_table, read_table, write_table
from mstv.data.results.series_summary import WindowMean
from mstv.errors import UserError

ActionSeries = Literal["generated", "upper_bound", "recorded", "lower_bound"]
"""Frames that actions were told from: the rollout; decoded true latents; the recording; decoded true latents in random
order. What `recorded` lacks, the instrument lacks; what `upper_bound` lacks beside it, the tokenizer lost."""

ACTION_SCORES = pa.schema(
    [
        ("episode", pa.string()),
        ("series", pa.string()),
        ("metric", pa.string()),  # accuracy, f1, macro_f1, mae, correlation
        ("name", pa.string()),  # of the action or column; empty for all together
        ("value", pa.float64()),
        ("num_frames", pa.int32()),
    ],
    metadata=METADATA,
)


class ActionScore(Part):
    """One score of one series, over the frames of all episodes."""

    series: ActionSeries
    metric: str = Field(description="accuracy, f1, macro_f1, mae (in the column's unit) or correlation")
    name: str = Field(description="of the action or column; empty for all together")
    overall: WindowMean
    horizons: tuple[WindowMean, ...] = Field(description="of the same windows as every metric")


class ActionSummary(Part):
    """Which actions a model tells from frames, against those that were given."""

    inverse_dynamics_sha256: str = Field(description="of the weights of the model that tells actions from frames")
    units: dict[str, str] = Field(description="of the columns; empty for ids")
    statistic: str = "of all frames of a window in all episodes; 95% percentile bootstrap over episodes, 1000 resamples"
    scores: tuple[ActionScore, ...]

    def score(self, series: ActionSeries, metric: str, name: str = "") -> ActionScore | None:
        """One of the scores, or None where there was nothing to go by."""
        wanted = (series, metric, name)
        return next((one for one in self.scores if (one.series, one.metric, one.name) == wanted), None)


def action_rows(episode: str, series: ActionSeries, scores: dict[tuple[str, str], float], num_frames: int) -> pa.Table:
    """Rows of `ACTION_SCORES` for one series of an episode, without scores that are NaN."""
    known = [(metric, name, value) for (metric, name), value in scores.items() if np.isfinite(value)]
    metric, name, value = zip(*known, strict=True) if known else ((), (), ())
    constant = [[one] * len(known) for one in (episode, series, num_frames)]
    columns = (constant[0], constant[1], metric, name, value, constant[2])
    return make_table(ACTION_SCORES, columns)


def write_actions(folder: Path, table: pa.Table) -> None:
    """Write `actions.parquet`, atomically."""
    write_table(folder / ACTION_FILE, table, ACTION_SCORES)


def read_actions(folder: Path) -> pa.Table:
    """A table of `ACTION_SCORES`; without rows if there is no such file.

    Raises:
        UserError: damaged, of another version, with other columns, or a value that is not finite.
    """
    path = folder / ACTION_FILE
    if not path.is_file():
        return ACTION_SCORES.empty_table()
    table = read_table(path, ACTION_SCORES)
    if not pc.all(pc.is_finite(table["value"]), min_count=0).as_py():
        raise UserError(f"{path}: column value is not finite: delete it and evaluate again")
    return table
