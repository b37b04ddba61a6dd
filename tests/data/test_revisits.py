"""Revisits: the grid search is exact, whatever the walk looks like, and quick."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mstv.data.revisits import Tolerance, first_seen, revisit_frames
from mstv.errors import UserError


def brute(poses: np.ndarray, tolerance: Tolerance) -> np.ndarray:
    """The definition, pair by pair, written apart from the code under test."""
    poses = poses.astype(np.float64)
    first = []
    for t, pose in enumerate(poses):
        for s in range(t):
            distance = np.sqrt(sum((pose[axis] - poses[s, axis]) ** 2 for axis in range(3)))
            yaw = abs((pose[3] - poses[s, 3] + 180.0) % 360.0 - 180.0)
            pitch = abs(pose[4] - poses[s, 4])
            if distance <= tolerance.position and yaw <= tolerance.angle and pitch <= tolerance.angle:
                first.append(s)
                break
        else:
            first.append(t)
    return np.array(first)


def loop_walk(num_frames: int, seed: int, jitter: float = 0.0) -> np.ndarray:
    """Straight stretches and turns by 10 degrees, as the recorded walks have: float32 (T, 5)."""
    rng = np.random.default_rng(seed)
    poses = np.zeros((num_frames, 5))
    yaw, turn = 0.0, 0
    for t in range(1, num_frames):
        if t % 9 == 0:
            turn = int(rng.choice([0, 0, 1, -1]))
        yaw += 10.0 * turn
        step = 0.0 if turn else 1 / 9
        poses[t] = poses[t - 1]
        poses[t, 0] -= step * np.sin(np.radians(yaw))
        poses[t, 2] += step * np.cos(np.radians(yaw))
        poses[t, 3] = yaw % 360.0
    poses += jitter * rng.standard_normal(poses.shape)
    return poses.astype(np.float32)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("jitter", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("tolerance", [Tolerance(), Tolerance(0.1, 2.0), Tolerance(3.0, 130.0), Tolerance(1.0, 180.0)])
def test_a_walk_is_exact(seed: int, jitter: float, tolerance: Tolerance) -> None:
    poses = loop_walk(250, seed, jitter)
    expected = brute(poses, tolerance)
    if jitter < 1:  # there are revisits, so that a test of them can fail
        assert (expected < np.arange(250)).any()
    np.testing.assert_array_equal(first_seen(poses, tolerance), expected)


_NUMBERS = st.floats(-4, 4, width=32) | st.sampled_from([0.0, 0.5, -0.5, 1.0, 1e9, -1e9, float("nan"), float("inf")])
_ANGLES = st.floats(-400, 400, width=32) | st.sampled_from([0.0, 15.0, -15.0, 180.0, -180.0, 359.99, 360.0, 345.0])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(_NUMBERS, _NUMBERS, _NUMBERS, _ANGLES, _ANGLES), min_size=1, max_size=24),
    st.sampled_from([0.01, 0.5, 2.0]),
    st.sampled_from([1.0, 15.0, 100.0, 120.0, 180.0]),
)
def test_any_poses_are_exact(rows: list[tuple[float, ...]], position: float, angle: float) -> None:
    poses = np.array(rows, np.float32)
    with np.errstate(invalid="ignore"):
        expected = brute(poses, Tolerance(position, angle))
    np.testing.assert_array_equal(first_seen(poses, Tolerance(position, angle)), expected)


def test_yaw_goes_round_and_standing_still_counts() -> None:
    poses = np.zeros((6, 5), np.float32)
    poses[:, 3] = [355, 5, 180, 725, 355, 5]
    assert first_seen(poses, Tolerance(0.5, 10.0)).tolist() == [0, 0, 2, 0, 0, 0]
    poses[2, 0] = np.nan
    assert first_seen(poses, Tolerance(0.5, 10.0)).tolist() == [0, 0, 2, 0, 0, 0]
    assert revisit_frames(np.zeros((10, 5), np.float32), (4, 8, 9), Tolerance()) == {4: 5, 8: 1, 9: 0}


@pytest.mark.parametrize("walk", ["loops", "jitter", "still", "two places", "dense"])
def test_long_episodes_are_quick(walk: str) -> None:
    rng = np.random.default_rng(0)
    if walk in ("loops", "jitter"):
        poses = loop_walk(20_000, 0, 0.01 if walk == "jitter" else 0.0)
    elif walk == "dense":
        poses = (rng.standard_normal((20_000, 5)) * [1, 1, 1, 40, 10]).astype(np.float32)
    else:
        poses = np.zeros((4_000 if walk == "two places" else 20_000, 5), np.float32)
        if walk == "two places":  # the worst there is: half the time at either of two that are just too far apart
            poses[2_000:, 0] = 0.51
            poses += 0.001 * rng.standard_normal(poses.shape).astype(np.float32)
    began = time.process_time()
    first_seen(poses, Tolerance())
    assert time.process_time() - began < 4.0  # 0.05 to 0.4 s when measured; pair by pair takes most of a minute


@pytest.mark.parametrize(
    ("position", "angle"), [(0.0, 15.0), (-1.0, 15.0), (float("nan"), 15.0), (0.5, 0.0), (0.5, 181.0)]
)
def test_impossible_tolerances_are_refused(position: float, angle: float) -> None:
    with pytest.raises(UserError, match="tolerance is"):
        Tolerance(position, angle)
