"""Training curves from a run's `metrics.csv`, as Lightning's CSVLogger writes it."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from mstv.errors import UserError

MAX_POINTS = 600
"""Longer curves are shown as means of equally many consecutive values."""
INDEX_COLUMNS = ("step", "epoch")
STEP_SECONDS = "throughput/step_seconds"
"""Mean seconds of a training step since this was logged last."""


@dataclass(frozen=True)
class LoggedCurve:
    """One logged quantity."""

    name: str
    step: list[float]
    value: list[float | None]
    """None where a NaN or an infinity was logged: a gap that one sees."""
    values_per_point: int


@dataclass(frozen=True)
class TrainingLog:
    """A `metrics.csv`."""

    curves: tuple[LoggedCurve, ...] = ()
    """In the order of its columns."""
    num_steps: int | None = None
    """Training steps up to the last one that was logged; None if none was."""
    seconds: float | None = None
    """Of training alone, without validation and the like, as far as it was logged; None where the speed was not."""


def read_training_log(path: Path) -> TrainingLog:
    """Read a `metrics.csv`; empty if there is no file.

    Rows are sparse: a row fills only the columns that were logged together.

    Raises:
        UserError: no `step` column, or a cell that is not a number.
    """
    if not path.is_file():
        return TrainingLog()
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or []
        if "step" not in names:
            raise UserError(f"{path}: column step is missing: this is not a CSVLogger file, move it away")
        points: dict[str, list[tuple[float, float]]] = {name: [] for name in names if name not in INDEX_COLUMNS}
        for row in reader:
            for name in points:
                if row[name] and row["step"]:
                    try:
                        points[name].append((float(row["step"]), float(row[name])))
                    except ValueError:
                        raise UserError(
                            f"{path}: line {reader.line_num}, column {name}: {row[name]!r} at step {row['step']!r} "
                            "is not a number: mend or move the file"
                        ) from None
    steps = [step for logged in points.values() for step, _ in logged]
    speeds = [(step, seconds) for step, seconds in points.get(STEP_SECONDS, []) if math.isfinite(seconds)]
    before = [-1.0, *(step for step, _ in speeds)]  # steps are counted from 0
    seconds = sum((step - last) * each for (step, each), last in zip(speeds, before, strict=False))
    curves = tuple(_thin(name, logged) for name, logged in points.items() if logged)
    return TrainingLog(curves, int(max(steps)) + 1 if steps else None, seconds if speeds else None)


def _thin(name: str, logged: list[tuple[float, float]]) -> LoggedCurve:
    group = math.ceil(len(logged) / MAX_POINTS)
    groups = [logged[start : start + group] for start in range(0, len(logged), group)]
    steps = [sum(step for step, _ in points) / len(points) for points in groups]
    means = [sum(value for _, value in points) / len(points) for points in groups]
    return LoggedCurve(name, steps, [mean if math.isfinite(mean) else None for mean in means], group)
