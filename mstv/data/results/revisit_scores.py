"""Scores of revisits: `revisit_scores.parquet`, a row per revisit, metric, reference and series; their table by gap."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int
from pydantic import Field

from mstv.data.results.card import Part
from mstv.data.results.layout import REVISIT_SCORE_FILE, REVISIT_SCORE_PARTS
from mstv.data.results.parquet_table import METADATA, ScoreTable, make_table, write_table
from mstv.data.results.scores import Series
from mstv.errors import UserError

Reference = Literal["raw", "decoded", "own", "elsewhere"]
"""What a frame that shows a place again is scored against: the recorded frame; the decoded true one; the earlier frame
of that place in the same video; an earlier frame of another place in the same video, drawn at random."""
SeenIn = Literal["context", "generated", "anywhere"]
"""Where the earlier visit lies: among the frames that were given, those that the model made, or either."""
REVISITS = "revisits"
"""Name of the note in the card that defines these scores; the numbers of `REVISIT` stand there, too."""
REVISIT = (
    "a generated frame whose pose lies within 0.25 blocks and 2.5 degrees of an earlier one, and which the walk had "
    "left for at least 7 frames since; of several such visits the latest"
)
"""What is scored; the numbers are those of `mstv.evaluation.revisit_scoring`."""
REVISIT_GAPS = (8, 16, 32, 64, 128, 256, 512)
"""First gap, in frames since the place was last seen, of each bin; the last has no end."""
REVISIT_STATISTIC = (
    "mean over the frames of a bin in each episode, then over episodes; PSNR: dB of the squared error averaged so, "
    "which identical frames, at 100 dB, do not lift"
)
"""How a `GapMean` is put together."""

REVISIT_SCORES = pa.schema(
    [
        ("episode", pa.string()),
        ("frame", pa.int32()),  # index in the episode of a generated frame whose pose was seen before
        ("earlier", pa.int32()),  # frame of the latest earlier visit of that pose
        ("metric", pa.string()),
        ("reference", pa.string()),
        ("series", pa.string()),  # generated, upper_bound or lower_bound, as in per_frame.parquet
        ("value", pa.float64()),
    ],
    metadata=METADATA,
)


class GapMean(Part):
    """A metric over the revisits of places that were last seen so long ago."""

    first_gap: int = Field(description="frames since the place was last seen, at least; below the next bin's first")
    value: float
    interval: tuple[float, float] | None = Field(description="None where fewer than two episodes have such a revisit")
    num_episodes: int = Field(description="that have such a revisit")
    num_frames: int


class RevisitMeans(Part):
    """One metric of one series against one reference, by how long ago a place was seen; bins without a revisit lack."""

    metric: str
    reference: Reference
    series: Series
    seen_in: SeenIn
    overall: GapMean
    gaps: tuple[GapMean, ...]


def revisit_rows(
    episode: str,
    frame: Int[np.ndarray, " P"],
    earlier: Int[np.ndarray, " P"],
    metric: str,
    reference: Reference,
    series: Series,
    value: Float[np.ndarray, " P"],
) -> pa.Table:
    """Rows of `REVISIT_SCORES` for one metric, reference and series of an episode; join them with pa.concat_tables."""
    columns = (episode, frame, earlier, metric, reference, series, value.astype(np.float64))
    return make_table(REVISIT_SCORES, columns)


def write_episode_revisits(folder: Path, episode: str, table: pa.Table) -> None:
    """Write all revisit scores of one episode, atomically; write them before its frame scores, which mark it as done.

    Raises:
        UserError: the table does not have the columns and values of `REVISIT_SCORES`, or rows of another episode.
    """
    _TABLE.write_part(folder, episode, table)


def read_episode_revisits(folder: Path, episode: str) -> pa.Table:
    """What `write_episode_revisits` wrote and is not merged yet; no rows if it did not.

    Raises:
        UserError: as `read_revisit_scores`.
    """
    return _TABLE.read_part(folder, episode) or REVISIT_SCORES.empty_table()


def merge_revisit_scores(folder: Path, episodes: tuple[str, ...], metrics: Sequence[str]) -> pa.Table:
    """Merge the episodes' parts, in this order, into `revisit_scores.parquet`; does nothing more when called again.

    Args:
        folder: of the evaluation, with the frame scores of all episodes.
        episodes: of the card.
        metrics: of the card; those that are merged already stay as they are, others that parts hold are left out.

    Raises:
        UserError: an episode's part is damaged.
    """
    path = folder / REVISIT_SCORE_FILE
    before = read_revisit_scores(folder)
    wanted = pa.array(set(metrics) - set(pc.unique(before["metric"]).to_pylist()), pa.string())
    parts = [read_episode_revisits(folder, episode) for episode in episodes]
    added = [part.filter(pc.is_in(part["metric"], wanted)) for part in parts]
    if any(part.num_rows for part in added) or not path.is_file():
        write_table(path, pa.concat_tables([before, *added]), REVISIT_SCORES)
    shutil.rmtree(folder / REVISIT_SCORE_PARTS, ignore_errors=True)
    return _TABLE.read(path)


def read_revisit_scores(folder: Path) -> pa.Table:
    """A table of `REVISIT_SCORES`, episodes in the card's order; without rows where there are no poses or no such file.

    Raises:
        UserError: damaged, of another version, with other columns or impossible values.
    """
    path = folder / REVISIT_SCORE_FILE
    return _TABLE.read(path) if path.is_file() else REVISIT_SCORES.empty_table()


def _check_visits(table: pa.Table, path: Path) -> None:
    if pc.min(table["earlier"]).as_py() < 0 or not pc.all(pc.less(table["earlier"], table["frame"])).as_py():
        raise UserError(f"{path}: column earlier is not between 0 and column frame: delete it and evaluate again")


_TABLE = ScoreTable(
    REVISIT_SCORES,
    REVISIT_SCORE_PARTS,
    {"reference": get_args(Reference), "series": get_args(Series)},
    _check_visits,
)
