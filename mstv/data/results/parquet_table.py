"""One table in a parquet file of ours: its columns and its schema version are checked on both sides."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mstv.data.schema import MAKER, SCHEMA_VERSION, atomic_path
from mstv.errors import UserError

METADATA = {"schema_version": str(SCHEMA_VERSION), "created_by": MAKER}
"""Stands in the schema of every table."""


def make_table(schema: pa.Schema, columns: Iterable[Any]) -> pa.Table:
    """A table of `schema` from its columns, in its order, each a sequence or an array."""
    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
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
