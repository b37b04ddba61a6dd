"""What the card tells of revisits is what finds them."""

import json
from dataclasses import replace

import numpy as np

from mstv.evaluation.revisit_scoring import GAPS, revisit_note
from tests.evaluation.test_revisit_scoring import YAW, episode_of, scored
from tests.metrics.scenes import walk


def test_the_note_of_the_card_has_the_numbers_that_find_revisits():
    """Frames just inside the tolerances are revisits, frames just outside are none."""
    note = revisit_note()
    assert note.definition is not None and note.name == "revisits" and note.definition["version"] == 1
    position, angle = (note.definition[name] for name in ("position_tolerance_blocks", "angle_tolerance_degrees"))
    away = note.definition["away_frames"]
    true, _ = walk(YAW)

    def num_revisits(apart: float = 0, turned: float = 0, left: int = away) -> int:
        poses = np.zeros((2 + left, 5), np.float32)  # at a place, far away, and back
        poses[1:-1, 0] = 100
        poses[-1, [0, 3]] = apart, turned
        episode = replace(episode_of(true[: len(poses)], true[: len(poses)]), context_frames=1)
        return len(set(scored(episode, poses)["frame"].to_pylist()))

    assert num_revisits(0.99 * position) == num_revisits(0, 0.99 * angle) == 1
    assert num_revisits(1.01 * position) == num_revisits(0, 1.01 * angle) == num_revisits(0, 0, away - 1) == 0
    assert note.definition["first_gaps"] == list(GAPS) and away + 1 == GAPS[0]
    assert json.loads(note.model_dump_json())["definition"] == note.definition
