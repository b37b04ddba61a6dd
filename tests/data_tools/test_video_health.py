"""Black, blank and frozen videos are told of with their frames; a walker at a wall is not."""

import numpy as np
import pytest

from data_tools.image_motion import Motion
from data_tools.video_health import health_warnings


def alive(num_frames: int = 200) -> Motion:
    still = np.zeros(num_frames, np.float32)
    return Motion(still.copy(), still.copy(), still + 5, still + 120, still + 40)


def turning(num_frames: int = 200) -> np.ndarray:
    return (np.arange(num_frames) // 9 % 3).astype(np.int16)


def test_a_living_video_is_fine() -> None:
    assert health_warnings(alive(), turning(), 20.0) == []
    assert health_warnings(alive(), None, 20.0) == []


def test_black() -> None:
    motion = alive()
    motion.brightness[40:81], motion.spread[40:81], motion.change[40:81] = 16, 0.5, 0
    assert health_warnings(motion, turning(), 20.0) == ["20 % of its 200 frames are black: frames 40..80"]
    assert health_warnings(motion, turning(), 30.0) == [], "shorter than two seconds"
    motion.brightness[:], motion.spread[:] = 17, 1
    motion.spread[100] = 30
    (line,) = health_warnings(motion, turning(), 20.0)
    assert line == "100 % of its 200 frames are black: frames 0..99, the longest of 2 runs"


def test_one_colour() -> None:
    motion = alive()
    motion.spread[:120], motion.change[:120] = 0.2, 0
    assert health_warnings(motion, None, 20.0) == ["60 % of its 200 frames are of one colour: frames 0..119"]
    motion.spread[:60] = 40
    motion.change[:60] = 5
    assert health_warnings(motion, None, 20.0) == []


def test_frozen_while_the_action_changes() -> None:
    motion = alive()
    motion.change[50:80] = 0.01
    (line,) = health_warnings(motion, turning(), 20.0)
    assert line == "15 % of its 200 frames are frozen, though the action changes: frames 50..79"
    vector = np.stack([np.ones(200), turning()], 1).astype(np.float32)
    assert health_warnings(motion, vector, 20.0) == [line]
    motion.change[60] = motion.change[70] = 5
    assert health_warnings(motion, turning(), 20.0) == [], "too short"


@pytest.mark.parametrize(
    "actions", [np.zeros(200, np.int16), np.full(200, -1, np.int16), np.ones((200, 2), np.float32)]
)
def test_a_walker_at_a_wall_is_fine(actions: np.ndarray) -> None:
    motion = alive()
    motion.change[50:120] = 0
    assert health_warnings(motion, actions, 20.0) == []
    actions = actions.copy()
    actions[:52], actions[118:] = 2, 2  # it turns before and after, and the actions stand two frames off
    assert health_warnings(motion, actions, 20.0) == []


def test_mostly_frozen_whatever_the_actions() -> None:
    motion = alive()
    motion.change[1::2] = 0
    for actions in (None, np.zeros(200, np.int16)):
        (line,) = health_warnings(motion, actions, 20.0)
        assert line.startswith("50 % of its 200 frames are like the one before (frozen): frames")


def test_very_short_and_very_fast_videos() -> None:
    assert health_warnings(alive(1), turning(1), 1e300) == []
    motion = alive()
    motion.change[20:90] = 0
    assert len(health_warnings(motion, turning(), 1e300)) == 1
