"""A .npy file that grows row by row, survives a kill, and appears under its name only when it is whole.

Each row has its place, a new try begins a new file, and only who wrote all of a file gives it its name: should two
processes write the same array, in a folder that cannot be locked, one of them fails, and no rows are mixed.
"""

import os
from pathlib import Path

import numpy as np

from mstv.errors import UserError


class NpyStream:
    """Writes an array of known shape, whose rows come one after the other.

    Args:
        path: file that `finish` makes.
        shape: of the whole array; the first is the number of rows.
        dtype: of the array.
        num_rows: rows to keep of what an earlier try wrote; the others are written again.

    Raises:
        UserError: the earlier try wrote fewer rows, or the folder cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype, num_rows: int = 0) -> None:
        self.path = path
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.num_rows = num_rows
        self._partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not num_rows:
                self._partial.unlink(missing_ok=True)
            self._file = self._partial.open("r+b" if num_rows else "x+b")
            np.lib.format.write_array_header_1_0(
                self._file, {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
            )
        except OSError as error:
            raise UserError(f"{self._partial}: cannot be written ({error.strerror}): choose another folder") from None
        self._start = self._file.tell()
        self._row_bytes = int(np.prod(shape[1:])) * self.dtype.itemsize
        if self._file.seek(0, os.SEEK_END) < self._start + num_rows * self._row_bytes:
            self._file.close()
            raise UserError(f"{self._partial}: holds fewer than the {num_rows} rows written: delete it and begin anew")

    def append(self, rows: np.ndarray) -> None:
        """Write further rows.

        Raises:
            ValueError: rows of another shape or type, or more than there may be.
        """
        if rows.shape[1:] != self.shape[1:] or rows.dtype != self.dtype:
            raise ValueError(f"rows are {rows.dtype} {rows.shape[1:]}, not {self.dtype} {self.shape[1:]}")
        if self.num_rows + len(rows) > self.shape[0]:
            raise ValueError(f"{self.num_rows} + {len(rows)} rows are more than {self.shape[0]}")
        self._file.seek(self._start + self.num_rows * self._row_bytes)
        self._file.write(np.ascontiguousarray(rows).data)
        self.num_rows += len(rows)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) of those written."""
        self._file.seek(self._start + start * self._row_bytes)
        data = self._file.read((min(stop, self.num_rows) - start) * self._row_bytes)
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])

    def flush(self) -> None:
        """Hand what is written to the system, so that a kill of this process does not lose it."""
        self._file.flush()

    def finish(self) -> None:
        """Give the file its name.

        Raises:
            ValueError: rows are missing.
            UserError: another process took the file away or put its own there.
        """
        if self.num_rows != self.shape[0]:
            raise ValueError(f"{self.num_rows} of {self.shape[0]} rows are written")
        self._file.flush()
        written = os.fstat(self._file.fileno())
        self._file.close()
        try:
            mine = os.path.samestat(written, self._partial.stat())
        except FileNotFoundError:
            mine = False
        if not mine or written.st_size != self._start + self.num_rows * self._row_bytes:
            raise UserError(f"{self._partial}: another process writes it: wait for that, then run this again")
        os.replace(self._partial, self.path)

    def close(self) -> None:
        """Close an unfinished file; it stays, to go on with."""
        self._file.close()
