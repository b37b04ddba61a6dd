"""One table in a parquet file of ours: its columns and its schema version are checked on both sides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mstv.data.schema import MAKER, SCHEMA_VERSION, atomic_path
from mstv.errors import UserError

METADATA = {"schema_version": str(SCHEMA_VERSION), "created_by": MAKER}
"""Stands in the schema of every table."""


def make_table(schema: pa.Schema, columns: Sequence[Any]) -> pa.Table:
    """A table of `schema` from its columns, in its order: sequences, arrays, or strings that stand in every row."""
    num_rows = next(len(column) for column in columns if not isinstance(column, str))
    filled = [[column] * num_rows if isinstance(column, str) else column for column in columns]
    arrays = [pa.array(column, kind) for column, kind in zip(filled, schema.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_table(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    """Write a table that has the columns of `schema`, atomically."""
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(schema.metadata), temporary)


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a table.

    Raises:
        UserError: damaged, of another version, with other columns or empty cells.
    """
    try:
        with path.open("rb") as file:  # a bare path would make pyarrow read a folder, or partitions from its name
            table = pq.read_table(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({error}): delete it and evaluate again") from None
    version = (table.schema.metadata or {}).get(b"schema_version", b"missing").decode()
    if version != str(SCHEMA_VERSION):
        raise UserError(f"{path}: field schema_version is {version}, this mstv reads {SCHEMA_VERSION}: evaluate again")
    check_columns(table, path, schema)
    return table


def check_columns(table: pa.Table, path: Path, schema: pa.Schema) -> None:
    """Raise UserError unless `table` has the columns and types of `schema` and no empty cell."""
    if not table.schema.equals(schema):
        found = ", ".join(f"{field.name} ({field.type})" for field in table.schema)
        expected = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise UserError(f"{path}: columns are {found}, expected {expected}: evaluate again with this version")
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count:
            raise UserError(f"{path}: column {name} has an empty cell: evaluate again")


@dataclass(frozen=True)
class ScoreTable:
    """Scores that are written episode by episode, each into a part of its own, before one file holds them all.

    Attributes:
        schema: has the columns `episode` and `value`.
        parts: folder of the parts, in that of the evaluation.
        allowed: the values that a column may hold.
        check_rows: raises UserError, which names the path, where rows are impossible; called with one row or more.
    """

    schema: pa.Schema
    parts: str
    allowed: Mapping[str, Sequence[str]]
    check_rows: Callable[[pa.Table, Path], None]

    def check(self, table: pa.Table, path: Path) -> None:
        """Raise UserError unless `table` has the columns and types of the schema and possible values."""
        check_columns(table, path, self.schema)
        for name, allowed in self.allowed.items():
            if unknown := set(pc.unique(table[name]).to_pylist()) - set(allowed):
                raise UserError(f"{path}: column {name} holds {unknown}, allowed are {', '.join(allowed)}")
        if not pc.all(pc.is_finite(table["value"]), min_count=0).as_py():
            raise UserError(f"{path}: column value is not finite: cap identical frames at 100 dB")
        if table.num_rows:
            self.check_rows(table, path)

    def read(self, path: Path) -> pa.Table:
        """Read a part, or the file of all.

        Raises:
            UserError: damaged, of another version, with other columns or impossible values.
        """
        table = read_table(path, self.schema)
        self.check(table, path)
        return table

    def write_part(self, folder: Path, episode: str, table: pa.Table) -> None:
        """Write the part of one episode into an evaluation's folder, atomically.

        Raises:
            UserError: the table has other columns, impossible values, or rows of another episode.
        """
        path = self._part(folder, episode)
        self.check(table, path)
        if set(pc.unique(table["episode"]).to_pylist()) - {episode}:
            raise UserError(f"{path}: column episode must hold {episode} alone: write one episode at a time")
        write_table(path, table, self.schema)

    def read_part(self, folder: Path, episode: str) -> pa.Table | None:
        """What `write_part` wrote and is not merged yet, or None.

        Raises:
            UserError: as `read`.
        """
        path = self._part(folder, episode)
        return self.read(path) if path.is_file() else None

    def _part(self, folder: Path, episode: str) -> Path:
        return folder / self.parts / f"{episode}.parquet"
