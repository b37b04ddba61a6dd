"""`mstv-data import loopnav`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mstv.evaluation.protocols import return_frame
from tests.data_tools.importers.foreign_sets import imported, loopnav, loopnav_entry

BUTTONS = ("forward", "back", "left", "right", "jump", "sprint", "sneak")


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_radians_become_degrees_in_place(tmp_path: Path, suffix: str) -> None:
    loopnav(tmp_path / "in", "ABA/plains/15/04-01_10-11-12", suffix=suffix)
    (key, episode), *rest = imported("loopnav", tmp_path / "in", tmp_path / "raw").items()
    assert not rest and key == "ABA-plains-15-04-01_10-11-12-0000"
    assert episode.numbers == list(range(40))
    assert not episode.actions[0].any()
    i = np.arange(40)
    # camera is (yaw, pitch) in radians; an entry's action produced its own frame.
    assert np.allclose(episode.column("camera_yaw")[1:], np.degrees(0.5 + i / 1000)[1:], atol=1e-4)
    assert np.allclose(episode.column("camera_pitch")[1:], np.degrees(-0.25 - i / 1000)[1:], atol=1e-4)
    for number, name in enumerate(BUTTONS):
        assert np.array_equal(episode.column(name)[1:], i[1:] % 7 == number)
    poses = np.stack([i, 64 + 0 * i, -i, np.degrees(i / 100), np.degrees(-i / 200)], 1)
    assert np.allclose(episode.poses, poses, atol=1e-4)
    assert (episode.record.action_shift, episode.record.fps, episode.record.source.world) == (0, 20, "loopnav-plains")


def test_worlds_are_places_wherever_the_source_begins(tmp_path: Path) -> None:
    loopnav(tmp_path / "in", "ABA/plains/15/a")
    loopnav(tmp_path / "in", "ABCA/plains/50/a")
    loopnav(tmp_path / "in", "ABCA/desert/50/a")
    found = imported("loopnav", tmp_path / "in", tmp_path / "raw").values()
    assert [e.record.source.world for e in found] == ["loopnav-plains", "loopnav-desert", "loopnav-plains"]
    (episode,) = imported("loopnav", tmp_path / "in" / "ABA" / "plains" / "15", tmp_path / "one").values()
    assert episode.record.source.world == "loopnav-plains"


def test_the_avi_is_taken_before_a_copy_as_mp4(tmp_path: Path) -> None:
    path = loopnav(tmp_path / "in", "ABA/plains/15/a")
    path.with_suffix(".mp4").write_bytes(b"some conversion")
    (episode,) = imported("loopnav", tmp_path / "in", tmp_path / "raw").values()
    assert episode.record.source.file == "ABA/plains/15/a.avi"


def test_entries_out_of_order_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = loopnav(tmp_path / "in", "ABA/plains/15/a").with_suffix(".json")
    entries = json.loads(path.read_text())
    entries[3], entries[4] = entries[4], entries[3]
    path.write_text(json.dumps(entries))
    with pytest.raises(AssertionError):
        imported("loopnav", tmp_path / "in", tmp_path / "raw")
    assert "a.json: entry 4: field frame_count is 23 after 24" in capsys.readouterr().err


def walk(*goals: tuple[float, float] | None, frames: int = 20) -> list[dict[str, Any]]:
    """Entries that begin at x = 0, z = 0: so many frames of each goal."""
    places = [goal and {"x": goal[0], "y": 70, "z": goal[1]} for goal in goals for _ in range(frames)]
    return [loopnav_entry(i, goal=place) for i, place in enumerate(places)]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (walk(None, (30, 4), (0.5, -0.5), None), 40),
        (walk(None, (30, 4), None, (0.5, -0.5)), 60),
        (walk((30, 4), (9, 25), (0.5, -0.5)), 40),
        (walk((30, 4), (9, 25), None), None),  # broken off before it turned back
        (walk(None, (0.5, -0.5)), None),  # never left
        (walk(None, None), None),
        ([loopnav_entry(i, goal="home") for i in range(40)], None),
        ([{k: v for k, v in loopnav_entry(i).items() if k != "goal"} for i in range(40)], None),
    ],
)
def test_the_goals_tell_where_the_way_back_begins(
    tmp_path: Path, entries: list[dict[str, Any]], expected: int | None
) -> None:
    loopnav(tmp_path / "in", "ABA/plains/15/a", entries)
    (episode,) = imported("loopnav", tmp_path / "in", tmp_path / "raw").values()
    assert episode.record.source.settings.get("return_frame") == expected
    assert return_frame(episode.record.source) == expected
