"""The run directory's metrics.csv."""

import csv
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class MetricsCSV(Logger):
    """Appends to `<folder>/metrics.csv`, on the first rank; a resumed run goes on in the same file.

    Lightning's own CSVLogger deletes the file of the run that it resumes. Here `begin` drops what stands between the
    checkpoint and the kill. What is logged of one step before it is saved becomes one row. A new column has the file
    written anew, which is rare: 200,000 steps, logged every 50, are 4000 rows.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "metrics.csv"
        self._fields: list[str] = []
        self._opened = False
        self._pending: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.parent.name

    @property
    def version(self) -> str:
        """A run has one version."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return str(self.path.parent)

    @property
    @rank_zero_experiment
    def experiment(self) -> None:
        """There is no experiment object."""
        return None

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the configuration stands in config.yaml."""

    @rank_zero_only
    def begin(self, step: int) -> None:
        """Go on in the file of an earlier process, without its rows from `step` (counted from 0) on."""
        self._opened = True
        rows = [row for row in self._read() if int(row["step"]) < step]
        self._fields = list(rows[0]) if rows else []
        if rows:
            self._write(rows)
        else:
            self.path.unlink(missing_ok=True)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add one row."""
        if not self._opened:
            self.begin(step or 0)
        row: dict[str, Any] = {"step": step, **{key: float(value) for key, value in metrics.items()}}
        if self._pending and self._pending[-1]["step"] == step:
            self._pending[-1].update(row)
            return
        # Few rows are pending at a kill.
        if len(self._pending) >= 10:
            self.save()
        self._pending.append(row)

    @rank_zero_only
    def save(self) -> None:
        """Write the pending rows."""
        if not self._pending:
            return
        new = {key for row in self._pending for key in row} - set(self._fields)
        if new:
            rows = self._read()
            self._fields = ["step", *sorted((set(self._fields) | new) - {"step"})]
            self._write(rows + self._pending)
        else:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._fields).writerows(self._pending)
        self._pending = []

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the pending rows."""
        self.save()

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        text = self.path.read_text()
        # A kill may have cut the last row short.
        return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._fields)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, self.path)
