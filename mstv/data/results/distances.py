"""Distances across episodes: features of finished episodes until all are there, then `distances.json`."""

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mstv.data.results.layout import DISTANCE_FILE, FEATURE_PARTS
from mstv.data.results.series_summary import SeriesSummary
from mstv.data.schema import Record, atomic_path
from mstv.errors import UserError


class Distances(Record):
    """`distances.json`."""

    values: tuple[SeriesSummary, ...]


def write_features(folder: Path, episode: str, features: dict[str, Float[np.ndarray, "_ _ _"]]) -> None:
    """Write what distances need of one episode, arrays (H, N, D) under `<metric>.<video>`, atomically."""
    with atomic_path(folder / FEATURE_PARTS / f"{episode}.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, **features)  # type: ignore[arg-type]  # names are none of its options


def read_features(folder: Path, episode: str) -> dict[str, Float[np.ndarray, "_ _ _"]]:
    """What `write_features` wrote; empty if it did not.

    Raises:
        UserError: a damaged file.
    """
    path = folder / FEATURE_PARTS / f"{episode}.npz"
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}): delete it and evaluate again") from None


def read_distances(folder: Path) -> tuple[SeriesSummary, ...]:
    """The distances of an evaluation; none if it has no such file."""
    path = folder / DISTANCE_FILE
    return Distances.read(path).values if path.is_file() else ()


def write_distances(folder: Path, values: Sequence[SeriesSummary]) -> None:
    """Add distances to those that are there; features are no longer needed then."""
    new = {value.metric for value in values}
    kept = [value for value in read_distances(folder) if value.metric not in new]
    Distances(values=(*kept, *values)).write(folder / DISTANCE_FILE)
    shutil.rmtree(folder / FEATURE_PARTS, ignore_errors=True)
