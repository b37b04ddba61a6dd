"""Revisits: for each frame of a walk, the earliest frame that had the same pose within tolerances."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from mstv.errors import UserError

_SLACK = 1 + 1e-6  # cells a hair wider than the tolerance, so that rounding never puts a match two cells away
_FAR = 2.0**28  # cells; beyond it cells merge, so that their numbers fit 64 bits, and the exact test decides as ever
_MAX_YAW_CELLS = 24
_GROWTH = 4  # each round looks at so many times more candidates than the one before
_PAIRS = 1 << 20  # pairs of frames compared at once, which bounds the memory


@dataclass(frozen=True)
class Tolerance:
    """When two poses count as the same: both their distance and their angles are within these bounds.

    Attributes:
        position: Euclidean distance of x, y, z in blocks, > 0.
        angle: difference of yaw (the shorter way round) and of pitch in degrees, in (0, 180].

    Raises:
        UserError: a value out of range.
    """

    position: float = 0.5
    angle: float = 15.0

    def __post_init__(self) -> None:
        if not 0 < self.position < float("inf"):
            raise UserError(f"position tolerance is {self.position}: give blocks > 0")
        if not 0 < self.angle <= 180:
            raise UserError(f"angle tolerance is {self.angle}: give degrees in (0, 180]")

    def same(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Whether poses agree; float64 (..., 5) each, bool (...)."""
        difference = one - other
        yaw = np.abs(difference[..., 3]) % 360.0
        near = np.square(difference[..., :3]).sum(-1) <= self.position**2
        return near & (np.minimum(yaw, 360.0 - yaw) <= self.angle) & (np.abs(difference[..., 4]) <= self.angle)


def first_seen(poses: np.ndarray, tolerance: Tolerance) -> np.ndarray:
    """Earliest frame with the pose of each frame; the frame itself if the pose is new.

    Exact. A hash of cells as wide as the tolerances (x, z, yaw) leaves few pairs to compare: 20,000 frames of a walk
    take a fraction of a second.

    Args:
        poses: (T, 5): x, y, z in blocks, yaw and pitch in degrees; a row with a NaN or an infinity is like no other.

    Returns:
        int64 (T,), values in [0, t] at t.
    """
    first = np.arange(len(poses))
    finite = np.flatnonzero(np.isfinite(poses).all(1))
    if not len(finite):
        return first
    # Someone who stands still has one pose for a thousand frames. All of them were first seen at the same frame, so
    # only the first of each is searched for, and searched among.
    distinct, occurrence, inverse = np.unique(
        poses[finite].astype(np.float64), axis=0, return_index=True, return_inverse=True
    )
    order = np.argsort(occurrence)
    earliest = np.empty(len(order), np.int64)
    earliest[order] = finite[occurrence[order[_search(distinct[order], tolerance)]]]
    first[finite] = earliest[inverse.reshape(-1)]
    return first


def revisit_frames(poses: np.ndarray, gaps: Sequence[int], tolerance: Tolerance) -> dict[int, int]:
    """Number of frames whose pose was seen more than so many frames earlier, by gap; for poses see `first_seen`."""
    ago = np.arange(len(poses)) - first_seen(poses, tolerance)
    return {gap: int((ago > gap).sum()) for gap in gaps}


def _search(poses: np.ndarray, tolerance: Tolerance) -> np.ndarray:
    """`first_seen` of distinct finite poses."""
    num = len(poses)
    best = np.arange(num)
    cells, strides, yaw_cells = _cells(poses, tolerance)
    keys = cells @ strides
    order = np.argsort(keys, kind="stable")  # by cell, then by time
    occupied, starts = np.unique(keys[order], return_index=True)
    # (cell, time) as one ascending number: finds how many of a cell's frames are earlier than a given one.
    place = np.searchsorted(occupied, keys)
    ascending = (place * num)[order] + order
    turns = (0, 1, -1) if yaw_cells > 1 else (0,)
    steps = np.array(list(product((0, 1, -1), (0, 1, -1), turns)))
    # The own cell comes first (all zeros): what it finds leaves less to search in its neighbours.
    for some in (steps[:1], steps[1:]):
        neighbours = cells[:, None] + some
        neighbours[..., 2] %= yaw_cells
        wanted = neighbours @ strides
        cell = np.minimum(np.searchsorted(occupied, wanted), len(occupied) - 1)
        frames, column = np.nonzero(occupied[cell] == wanted)
        _search_cells(poses, tolerance, best, order, ascending, frames, cell[frames, column], starts)
    return best


def _search_cells(
    poses: np.ndarray,
    tolerance: Tolerance,
    best: np.ndarray,
    order: np.ndarray,
    ascending: np.ndarray,
    frames: np.ndarray,
    cells: np.ndarray,
    starts: np.ndarray,
) -> None:
    """Lower `best` of each of `frames` to the earliest matching frame in its one of `cells`, if that is earlier."""
    begin = starts[cells]
    width = 1
    while True:
        end = np.searchsorted(ascending, cells * len(poses) + best[frames])  # none that is later than the best so far
        left = begin < end
        frames, cells, begin, end = frames[left], cells[left], begin[left], end[left]
        if not len(frames):
            return
        found = np.zeros(len(frames), bool)
        batch = max(1, _PAIRS // width)
        for low in range(0, len(frames), batch):
            rows = slice(low, low + batch)
            candidates = begin[rows, None] + np.arange(width)
            real = candidates < end[rows, None]
            row, column = np.nonzero(real)
            others = order[candidates[row, column]]
            same = np.zeros(real.shape, bool)
            same[row, column] = tolerance.same(poses[frames[rows][row]], poses[others])
            hit = np.flatnonzero(same.any(1))
            np.minimum.at(best, frames[rows][hit], order[candidates[hit, same[hit].argmax(1)]])
            found[rows][hit] = True
        begin = np.where(found, len(order), begin + width)
        width *= _GROWTH


def _cells(poses: np.ndarray, tolerance: Tolerance) -> tuple[np.ndarray, np.ndarray, int]:
    """Cell of each pose by x, z and yaw, int64 (T, 3); the strides that make one number of it; cells of a full turn."""
    plane = np.clip(np.floor(poses[:, [0, 2]] / (tolerance.position * _SLACK)), -_FAR, _FAR).astype(np.int64)
    plane -= plane.min(0) - 1  # room for the neighbours
    yaw_cells = min(int(360.0 / (tolerance.angle * _SLACK)), _MAX_YAW_CELLS)
    if yaw_cells < 3:
        yaw_cells = 1  # with two, both neighbours would be the same cell
    yaw = np.floor(poses[:, 3] % 360.0 / (360.0 / yaw_cells)).astype(np.int64) % yaw_cells
    strides = np.array([(plane[:, 1].max() + 2) * yaw_cells, yaw_cells, 1], np.int64)
    return np.column_stack([plane, yaw]), strides, yaw_cells
