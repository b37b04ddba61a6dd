"""`mstv-data import loopnav`."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.data_tools.importers.foreign_sets import imported, loopnav

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
