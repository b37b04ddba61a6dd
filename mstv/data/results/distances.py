"""Distances across episodes: features of finished episodes until all are there, then `distances.json`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mstv.data.results.array_parts import ArrayParts
from mstv.data.results.layout import DISTANCE_FILE, FEATURE_PARTS
from mstv.data.results.series_summary import SeriesSummary
from mstv.data.schema import Record


class Distances(Record):
    """`distances.json`."""

    values: tuple[SeriesSummary, ...]


def write_features(folder: Path, episode: str, features: dict[str, Float[np.ndarray, "_ _ _"]]) -> None:
    """Write what distances need of one episode, arrays (H, N, D) under `<metric>.<video>`, atomically."""
    _PARTS.write(folder, episode, features)


def read_features(folder: Path, episode: str) -> dict[str, Float[np.ndarray, "_ _ _"]]:
    """What `write_features` wrote; empty if it did not.

    Raises:
        UserError: a damaged file.
    """
    return _PARTS.read(folder, episode)


def read_distances(folder: Path) -> tuple[SeriesSummary, ...]:
    """The distances of an evaluation; none if it has no such file."""
    path = folder / DISTANCE_FILE
    return Distances.read(path).values if path.is_file() else ()


def write_distances(folder: Path, values: Sequence[SeriesSummary]) -> None:
    """Add distances to those that are there; features are no longer needed then."""
    new = {value.metric for value in values}
    kept = [value for value in read_distances(folder) if value.metric not in new]
    Distances(values=(*kept, *values)).write(folder / DISTANCE_FILE)
    _PARTS.remove(folder)


_PARTS = ArrayParts(FEATURE_PARTS)
