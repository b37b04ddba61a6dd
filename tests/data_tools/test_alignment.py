"""Misplaced actions are named, on drawn walks and on recordings; true and unrelated ones are not."""

from pathlib import Path

import numpy as np
import pytest

from data_tools.alignment import SHIFTS, Evidence, alignment_warnings, evidence, has_motion
from data_tools.cli import main
from data_tools.image_motion import Motion, MotionEstimate
from mstv.data.schema import ActionSpec, Episode
from mstv.data.video import frame_planes
from tests.data_tools.walks import DISCRETE, shifted, walk


def motion_of(frames: np.ndarray) -> Motion:
    estimate = MotionEstimate()
    for frame in frames:
        estimate.add(frame[..., 1])
    return estimate.motion()


@pytest.mark.parametrize("kind", ["discrete", "vector"])
def test_every_shift_is_named(kind: str) -> None:
    for seed in range(3):
        frames, actions, spec = walk(kind, 300, seed)
        motion = motion_of(frames)
        for shift in SHIFTS:
            moved = shifted(actions, shift)
            assert has_motion(moved, motion)
            found = evidence(moved, motion, spec)
            assert found.sure and found.best == shift, (seed, shift, found.best, found.confidence)


def test_unrelated_actions_are_not_named() -> None:
    motions = [motion_of(walk("discrete", 300, seed)[0]) for seed in range(4)]
    for seed, motion in enumerate(motions):
        for other in range(10, 20):
            found = evidence(walk("discrete", 300, other)[1], motion, DISCRETE)
            assert not found.sure, (seed, other, found.best, found.confidence)


def test_little_motion_says_nothing() -> None:
    frames, actions, _ = walk("discrete", 100, 0)
    motion = motion_of(frames)
    assert has_motion(actions, motion)
    assert not has_motion(np.zeros_like(actions), motion), "one action throughout"
    assert not has_motion(actions, motion_of(frames[:1].repeat(100, 0))), "a still picture"
    assert not has_motion(actions[:11], Motion(*(values[:11] for values in motion))), "a short one"


def test_columns_that_mean_nothing_do_no_harm() -> None:
    """Constant columns, and one of very large values, as wheels and hotbars are."""
    frames, actions, _ = walk("vector", 300, 5)
    extra = np.zeros((300, 3), np.float32)
    extra[:, 1] = 1
    extra[::50, 2] = 1e6
    names = tuple("abcdef")
    spec = ActionSpec(kind="vector", names=names, units=names)
    found = evidence(shifted(np.concatenate([actions, extra], 1), -2), motion_of(frames), spec)
    assert found.sure and found.best == -2


def test_short_clips_speak_together() -> None:
    episodes = {}
    for seed in range(12):
        frames, actions, spec = walk("discrete", 48, seed)
        motion = motion_of(frames)
        if has_motion(moved := shifted(actions, 1), motion):
            episodes[f"clip-{seed}"] = evidence(moved, motion, spec)
    assert not any(found.sure for found in episodes.values())
    (line,) = alignment_warnings(episodes)
    assert "actions look 1 frame late (best shift +1 of" in line and "taken together" in line


def test_no_evidence_is_not_sure() -> None:
    assert Evidence().confidence == 0 and not Evidence().sure
    assert alignment_warnings({}) == [] and alignment_warnings({"a": Evidence()}) == []


def test_warnings_name_direction_count_and_cure() -> None:
    frames, actions, spec = walk("vector", 300, 0)
    motion = motion_of(frames)
    found = {shift: evidence(shifted(actions, shift), motion, spec) for shift in (-2, 0, 1)}
    late = {f"late-{number}": found[1] for number in range(7)}
    early, right = {"early": found[-2]}, {"right-1": found[0], "right-2": found[0]}
    first, second = alignment_warnings({**early, **late, **right})
    assert first.startswith("actions look 1 frame late (best shift +1 in 7 of 10 episodes with motion: late-0, late-1")
    assert "..." in first and "1 row earlier" in first
    assert second.startswith("actions look 2 frames early (best shift -2 in 1 of 10 episodes with motion: early)")
    assert "2 rows later" in second
    assert alignment_warnings(right) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "mode", "size"),
    [("loopwalk", "discrete", 64), ("random", "discrete", 64), ("random", "vector", 64), ("loopwalk", "discrete", 128)],
)
def test_recordings(policy: str, mode: str, size: int, tmp_path: Path) -> None:
    """At least 95 % of the episodes with motion are named right at every shift, and none is named wrong."""
    settings = ["--engine", "blockworld", "--policy", policy, "--action-mode", mode, "--size", str(size)]
    out = tmp_path / "raw"
    assert main(["record", *settings, "--episodes", "10", "--frames", "512", "--seed", "77", "--out", str(out)]) == 0
    right = total = 0
    for path in sorted(out.glob("*.mp4")):
        episode = Episode.read(path.with_suffix(".json"))
        estimate = MotionEstimate()
        for planes in frame_planes(path):
            estimate.add(np.frombuffer(planes, np.uint8, size * size).reshape(size, size))
        motion, actions = estimate.motion(), np.load(path.with_suffix(".actions.npy"))
        for shift in SHIFTS:
            moved = shifted(actions, shift)
            if has_motion(moved, motion):
                found = evidence(moved, motion, episode.actions)
                assert found.best == shift or not found.sure
                total += 1
                right += found.sure
    assert total >= 50 and right >= 0.95 * total
