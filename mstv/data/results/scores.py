"""Scores of single frames: `per_frame.parquet`, one row per episode, frame, metric, ground truth and series."""

import shutil
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from mstv.data.results.card import Card, GroundTruth
from mstv.data.results.layout import CARD, SCORE_FILE, SCORE_PARTS, SUMMARY
from mstv.data.results.parquet_table import METADATA, ScoreTable, make_table, write_table
from mstv.errors import UserError

Series = Literal["generated", "upper_bound", "lower_bound"]
"""Which video is scored: the rollout, the decoded true latents, or true latents in shuffled order."""

SCORES = pa.schema(
    [
        ("episode", pa.string()),
        ("frame", pa.int32()),  # index in the episode
        ("horizon", pa.int32()),  # frames since the last ground-truth frame; 1 = first generated frame
        ("metric", pa.string()),  # as in the card
        ("ground_truth", pa.string()),
        ("series", pa.string()),
        ("value", pa.float64()),
    ],
    metadata=METADATA,
)


class EpisodeCurves(NamedTuple):
    """One metric, ground truth and series: a row per episode, a column per horizon."""

    episodes: tuple[str, ...]
    horizon: Int[np.ndarray, " H"]
    values: Float[np.ndarray, "E H"]


def episode_scores(
    episode: str,
    frame: Int[np.ndarray, " T"],
    horizon: Int[np.ndarray, " T"],
    metric: str,
    ground_truth: GroundTruth,
    series: Series,
    value: Float[np.ndarray, " T"],
) -> pa.Table:
    """Rows of `SCORES` for one metric, ground truth and series of an episode; join them with pa.concat_tables."""
    columns = (episode, frame, horizon, metric, ground_truth, series, value.astype(np.float64))
    return make_table(SCORES, columns)


def write_episode_scores(folder: Path, episode: str, table: pa.Table) -> None:
    """Write all scores of one episode, atomically, so that an evaluation resumes after it.

    Raises:
        UserError: the table does not have the columns and values of `SCORES`, or rows of another episode.
    """
    _TABLE.write_part(folder, episode, table)


def read_episode_scores(folder: Path, episode: str) -> pa.Table | None:
    """What `write_episode_scores` wrote and is not merged yet, or None.

    Raises:
        UserError: as `read_scores`.
    """
    return _TABLE.read_part(folder, episode)


def merge_scores(folder: Path) -> pa.Table:
    """Merge the episodes' scores, in the card's order, into `per_frame.parquet`; does nothing more when called again.

    Metrics that are there already stay as they are; of the others, those that the card names are added.

    Raises:
        UserError: there is no card, or episodes of it are not scored yet, or not by the same metrics.
    """
    card = Card.read(folder / CARD)
    path = folder / SCORE_FILE
    tables = [read_scores(folder)] if path.is_file() else []
    merged = set(pc.unique(tables[0]["metric"]).to_pylist()) if tables else set()
    wanted = pa.array([note.name for note in card.metrics if note.name not in merged], pa.string())
    parts = [read_episode_scores(folder, episode) for episode in card.episodes]
    added = [part and part.filter(pc.is_in(part["metric"], wanted)) for part in parts]
    metrics = [set(pc.unique(part["metric"]).to_pylist()) if part else set() for part in added]
    if any(metrics) or not tables:
        if not all(found and found == metrics[0] for found in metrics):
            raise half_written(folder)
        write_table(path, pa.concat_tables([*tables, *added]), SCORES)
    shutil.rmtree(folder / SCORE_PARTS, ignore_errors=True)
    return read_scores(folder)


def read_scores(folder: Path) -> pa.Table:
    """Scores of a finished evaluation: a table of `SCORES`, episodes in the card's order.

    Raises:
        UserError: half-written, damaged, of another version, with other columns, or with impossible values.
    """
    if not (folder / SCORE_FILE).is_file():
        raise half_written(folder)
    return _TABLE.read(folder / SCORE_FILE)


def episode_curves(scores: pa.Table, metric: str, ground_truth: GroundTruth, series: Series) -> EpisodeCurves | None:
    """One metric, ground truth and series as an array, or None if it was not scored.

    Raises:
        UserError: an episode lacks a horizon that another has, or has it twice.
    """
    wanted = {"metric": metric, "ground_truth": ground_truth, "series": series}
    table = scores
    for name, value in wanted.items():
        table = table.filter(pc.equal(table[name], value))
    if not table.num_rows:
        return None
    episodes = pc.unique(table["episode"]).to_pylist()
    row = pc.index_in(table["episode"].combine_chunks(), value_set=pa.array(episodes)).to_numpy(zero_copy_only=False)
    horizon, column = np.unique(table["horizon"].to_numpy(), return_inverse=True)
    values = np.full((len(episodes), len(horizon)), np.nan)
    values[row, column] = table["value"].to_numpy()
    if table.num_rows != values.size or np.isnan(values).any():
        raise UserError(
            f"{SCORE_FILE}: {' '.join(wanted.values())} does not have every horizon once in each episode: "
            "delete the evaluation's folder and evaluate again"
        )
    return EpisodeCurves(tuple(episodes), horizon, values)


class Incomplete(UserError):
    """An evaluation that was never begun, or is half-written."""


def half_written(folder: Path) -> Incomplete:
    """The error that names an evaluation without its last file."""
    parts = len(list((folder / SCORE_PARTS).glob("*.parquet")))
    if parts or not (folder / SCORE_FILE).is_file():
        what = f"{parts} scored episode{'s' * (parts != 1)}, to be merged into {SCORE_FILE} when all are there"
    else:
        what = f"{SUMMARY} is missing"
    return Incomplete(
        f"{folder}: the evaluation is half-written ({what}): run the same mstv evaluate again, it resumes"
    )


def _check_horizons(table: pa.Table, path: Path) -> None:
    if pc.min(table["horizon"]).as_py() < 1:
        raise UserError(f"{path}: column horizon is below 1: leave context frames out")


_TABLE = ScoreTable(
    SCORES, SCORE_PARTS, {"ground_truth": get_args(GroundTruth), "series": get_args(Series)}, _check_horizons
)
