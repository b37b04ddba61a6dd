"""The run directory's metrics.csv."""

import csv
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class MetricsCSV(Logger):
    """Appends to `<folder>/metrics.csv`; a resumed run goes on in the same file.

    Lightning's own CSVLogger deletes the file of the run that it resumes. Rows at or after the first step that is
    logged again (those between the checkpoint and the kill) are dropped.

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
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add one row."""
        row: dict[str, Any] = {"step": step, **{key: float(value) for key, value in metrics.items()}}
        if not self._opened:
            self._opened = True
            self._reopen(step or 0)
        self._pending.append(row)
        # Few rows are pending at a kill, and rows of one step stay together.
        if len(self._pending) >= 10:
            self.save()

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
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._fields)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, self.path)

    def _reopen(self, step: int) -> None:
        rows = [row for row in self._read() if int(row["step"]) < step]
        self._fields = list(rows[0]) if rows else []
        if rows:
            self._write(rows)
        else:
            self.path.unlink(missing_ok=True)
