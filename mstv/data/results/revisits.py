"""Revisits of an evaluation's episodes: `revisits.parquet`, one row per generated frame whose place comes back."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from mstv.data.results.layout import REVISIT_FILE
from mstv.data.results.parquet_table import METADATA, make_table, read_table, write_table
from mstv.errors import UserError

MIN_GAP = 32
"""Frames elsewhere after which a pose that comes back is a revisit."""

REVISITS = pa.schema(
    [
        ("episode", pa.string()),
        ("frame", pa.int32()),  # index in the episode of a generated frame that shows a place again
        ("last_seen", pa.int32()),  # frame of the latest visit before, context included, at least `MIN_GAP` earlier
    ],
    metadata=METADATA,
)

Revisits = tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]
"""Columns frame, ascending, and last_seen."""


def write_revisits(folder: Path, revisits: dict[str, Revisits]) -> None:
    """Write `revisits.parquet`, atomically.

    Args:
        folder: of the evaluation.
        revisits: of the episodes that have poses.
    """
    tables = [make_table(REVISITS, (episode, *columns)) for episode, columns in revisits.items() if len(columns[0])]
    write_table(folder / REVISIT_FILE, pa.concat_tables([REVISITS.empty_table(), *tables]), REVISITS)


def read_revisits(folder: Path) -> dict[str, Revisits]:
    """(frame, last_seen) of each episode with revisits, frames ascending; empty if the evaluation has no such file.

    Raises:
        UserError: damaged, of another version, with other columns or impossible values.
    """
    path = folder / REVISIT_FILE
    if not path.is_file():
        return {}
    table = read_table(path, REVISITS)
    gap = pc.subtract(table["frame"], table["last_seen"])
    possible = pc.and_(pc.greater_equal(table["last_seen"], 0), pc.greater_equal(gap, MIN_GAP))
    if not pc.all(possible, min_count=0).as_py():
        raise UserError(
            f"{path}: column last_seen is not between 0 and {MIN_GAP} frames before column frame: evaluate again"
        )
    table = table.sort_by("frame")
    found = {}
    for episode in pc.unique(table["episode"]).to_pylist():
        rows = table.filter(pc.equal(table["episode"], episode))
        found[episode] = (rows["frame"].to_numpy(), rows["last_seen"].to_numpy())
    return found
