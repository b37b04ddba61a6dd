"""Revisits of an evaluation's episodes: `revisits.parquet`, one row per generated frame whose pose is known."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from mstv.data.results.layout import REVISIT_FILE
from mstv.data.results.parquet_table import METADATA, make_table, read_table, write_table
from mstv.errors import UserError

REVISITS = pa.schema(
    [
        ("episode", pa.string()),
        ("frame", pa.int32()),  # index in the episode of a generated frame
        ("first_seen", pa.int32()),  # earliest frame with the same pose, context included; `frame` if the pose is new
    ],
    metadata=METADATA,
)


def write_revisits(folder: Path, first_seen: dict[str, Int[np.ndarray, " T"]], context_frames: int) -> None:
    """Write `revisits.parquet`, atomically.

    Args:
        folder: of the evaluation.
        first_seen: of the episodes that have poses: at frame t, the earliest frame with the same pose, in [0, t].
        context_frames: rows begin after them.
    """
    tables = [REVISITS.empty_table()]
    for episode, earliest in first_seen.items():
        frame = np.arange(context_frames, len(earliest))
        tables.append(make_table(REVISITS, (episode, frame, earliest[context_frames:])))
    write_table(folder / REVISIT_FILE, pa.concat_tables(tables), REVISITS)


def read_revisits(folder: Path) -> dict[str, tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]]:
    """(frame, first_seen) of each episode that has poses, frames ascending; empty if the evaluation has no such file.

    Raises:
        UserError: damaged, of another version, with other columns or impossible values.
    """
    path = folder / REVISIT_FILE
    if not path.is_file():
        return {}
    table = read_table(path, REVISITS)
    if (
        table.num_rows
        and not pc.all(
            pc.and_(pc.greater_equal(table["first_seen"], 0), pc.less_equal(table["first_seen"], table["frame"]))
        ).as_py()
    ):
        raise UserError(f"{path}: column first_seen is not between 0 and column frame: delete it and evaluate again")
    table = table.sort_by("frame")
    found = {}
    for episode in pc.unique(table["episode"]).to_pylist():
        rows = table.filter(pc.equal(table["episode"], episode))
        found[episode] = (rows["frame"].to_numpy(), rows["first_seen"].to_numpy())
    return found
