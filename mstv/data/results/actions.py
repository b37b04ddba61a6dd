"""How well rollouts follow their actions: `actions.parquet`, a row per episode and score, and their summary."""

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float
from pydantic import Field

from mstv.data.results.array_parts import ArrayParts
from mstv.data.results.card import Part
from mstv.data.results.layout import ACTION_FILE, ACTION_PARTS
from mstv.data.results.parquet_table import METADATA, make_table, read_table, write_table
from mstv.data.results.series_summary import WindowMean
from mstv.errors import UserError

ActionSeries = Literal["generated", "upper_bound", "recorded", "lower_bound"]
"""Frames that actions were told from: the rollout; decoded true latents; the recording; decoded true latents in random
order. What `recorded` lacks, the instrument lacks; what `upper_bound` lacks beside it, the tokenizer lost."""

ACTION_FOLLOWING = "action_following"
"""Name of the note in the card that defines these scores."""
ACTION_STATISTIC = "of all frames of a window in all episodes; 95% percentile bootstrap over episodes, 1000 resamples"
ActionSums = dict[ActionSeries, Float[np.ndarray, "N S"]]
"""What each generated frame of an episode adds to the sums that scores follow from, by series."""

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
    statistic: str = ACTION_STATISTIC
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


def write_action_sums(folder: Path, episode: str, instrument: str, sums: ActionSums) -> None:
    """Write what one episode adds to the scores, atomically, so that an evaluation resumes after it.

    Args:
        folder: of the evaluation.
        episode: its key.
        instrument: what the sums were made by, without a full stop; sums of another one are overwritten.
        sums: of each series.
    """
    _PARTS.write(folder, episode, {f"{instrument}.{series}": array for series, array in sums.items()})


def read_action_sums(folder: Path, episode: str, instrument: str) -> ActionSums:
    """What `write_action_sums` wrote; empty if it did not, or by another instrument.

    Raises:
        UserError: a damaged file.
    """
    found = _PARTS.read(folder, episode)
    wanted: tuple[ActionSeries, ...] = get_args(ActionSeries)
    return {series: found[name] for series in wanted if (name := f"{instrument}.{series}") in found}


def remove_action_sums(folder: Path) -> None:
    """Remove the sums of all episodes, once their scores are summed up."""
    _PARTS.remove(folder)


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


_PARTS = ArrayParts(ACTION_PARTS)
