"""Which generated frames show a place that was seen before, found from poses alone."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

POSITION_TOLERANCE = 0.25
ANGLE_TOLERANCE = 2.5
GAPS = (8, 16, 32, 64, 128, 256, 512)
"""First gap, in frames since the place was last seen, of each bin; the last has no end."""
AWAY = GAPS[0] - 1
"""Frames in a row outside the tolerances that end a visit, so that the smallest gap is the first of `GAPS`."""


class Revisits(NamedTuple):
    """Pairs of a generated frame and an earlier frame with the same pose, by frame and then by earlier frame."""

    frame: Int[np.ndarray, " P"]
    """Index of the generated frame in the episode."""
    earlier: Int[np.ndarray, " P"]
    """Index of the earlier frame: of that visit, the one with the nearest pose."""
    elsewhere: Int[np.ndarray, " P"]
    """An earlier frame with another pose, drawn at random: what an unrelated view scores."""
    in_context: Bool[np.ndarray, " P"]
    """Whether the earlier frame was given; else the model made it."""
    latest: Bool[np.ndarray, " P"]
    """Whether it is the most recent of the earlier visits: one pair of each frame."""
    absent: Int[np.ndarray, " P"]
    """Frames from the last of that earlier visit to the first of the present one."""

    @property
    def gap(self) -> Int[np.ndarray, " P"]:
        """Frames since the earlier frame."""
        return self.frame - self.earlier

    def select(self, chosen: Bool[np.ndarray, " P"]) -> "Revisits":
        """The chosen pairs alone."""
        return Revisits(*(column[chosen] for column in self))


def find_revisits(
    poses: Float[np.ndarray, "T _"],
    context: int,
    position_tolerance: float = POSITION_TOLERANCE,
    angle_tolerance: float = ANGLE_TOLERANCE,
    away: int = AWAY,
    seed: int = 0,
) -> Revisits:
    """Pairs of generated frames with each earlier visit of the same pose.

    A visit is a run of frames within the tolerances of the generated frame's pose; it ends when at least `away` frames
    in a row lie outside. The visit that goes on up to the generated frame is left out: to stand still is no revisit.

    Args:
        poses: (T, 5) x, y, z in blocks, yaw, pitch in degrees, of every frame, those of the context included.
        context: frames that were given; the rest was generated.
        position_tolerance: largest distance in blocks.
        angle_tolerance: largest difference of yaw (modulo 360) and of pitch in degrees.
        away: frames in a row outside the tolerances that end a visit.
        seed: of the draw of the unrelated frames.

    Raises:
        ValueError: another shape, a pose that is not finite, a context outside 1..T, or a tolerance not above 0.
    """
    if poses.ndim != 2 or poses.shape[1] != 5 or not np.isfinite(poses).all():
        raise ValueError(f"poses are {poses.shape}, they must be (T, 5) and finite")
    if not 1 <= context <= len(poses):
        raise ValueError(f"context is {context}, it must lie in 1..{len(poses)}")
    if min(position_tolerance, angle_tolerance) <= 0 or away < 1:
        raise ValueError(f"tolerances {position_tolerance}, {angle_tolerance} and away {away} must be positive")
    poses = poses.astype(np.float64)
    rows = []
    for frame in range(context, len(poses)):
        apart = _apart(poses[:frame], poses[frame], position_tolerance, angle_tolerance)
        same = np.flatnonzero(apart <= 1)
        ends = np.flatnonzero(np.diff(np.append(same, frame)) > away)
        if not len(ends):
            continue
        arrived = np.append(same, frame)[ends[-1] + 1]
        elsewhere = np.random.default_rng([seed, frame]).choice(np.flatnonzero(apart > 1))
        for visit in np.split(same, ends + 1)[: len(ends)]:
            nearest = visit[::-1][np.argmin(apart[visit[::-1]])]  # of equal ones the most recent
            latest = visit[-1] == same[ends[-1]]
            rows.append((frame, nearest, elsewhere, nearest < context, latest, arrived - visit[-1]))
    pairs, earlier, others, in_context, latest_of, absent = np.array(rows, np.int64).reshape(-1, 6).T
    return Revisits(pairs, earlier, others, in_context.astype(bool), latest_of.astype(bool), absent)


def _apart(
    earlier: Float[np.ndarray, "N 5"], pose: Float[np.ndarray, " 5"], position_tolerance: float, angle_tolerance: float
) -> Float[np.ndarray, " N"]:
    """Largest difference in units of its tolerance."""
    position = np.linalg.norm(earlier[:, :3] - pose[:3], axis=1) / position_tolerance
    turned = (earlier[:, 3:] - pose[3:] + 180) % 360 - 180
    return np.maximum(position, np.abs(turned).max(1) / angle_tolerance)
