"""`mstv-data import minerl`."""

from pathlib import Path

import numpy as np
import pytest

from tests.data_tools.importers.foreign_sets import import_set, imported, minerl

STREAM = "MineRLTreechop-v0/v3_absolute_grape_changeling-6_37339-46767"


def test_leading_frames_are_dropped_and_actions_stand_on_what_they_produced(tmp_path: Path) -> None:
    minerl(tmp_path / "in", STREAM, steps=39, leading=5)
    (key, episode), *rest = imported("minerl", tmp_path / "in", tmp_path / "raw").items()
    assert not rest and key == "MineRLTreechop-v0-v3_absolute_grape_changeling-6_37339-46767-recording-0000"
    assert episode.numbers == list(range(5, 45))  # 40 states
    assert not episode.actions[0].any()
    steps = np.arange(39)
    # action[i] takes state i, video frame 5 + i, to state i + 1.
    assert np.array_equal(episode.column("camera_pitch")[1:], steps + np.float32(0.625))
    assert np.array_equal(episode.column("camera_yaw")[1:], -steps - np.float32(0.125))
    assert np.array_equal(episode.column("forward")[1:], steps % 2)
    assert np.array_equal(episode.column("attack")[1:], steps % 3 == 0)
    assert np.array_equal(episode.column("place")[1:], steps % 5 == 0)
    assert not episode.column("sneak").any() and episode.poses is None
    record = episode.record
    assert (record.action_shift, record.fps, record.source.world) == (1, 20, "minerl-absolute_grape_changeling")
    assert dict(zip(record.actions.names, record.actions.units, strict=True))["camera_pitch"] == "degrees"


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_location_stats_become_poses(tmp_path: Path, shape: tuple[int, ...]) -> None:
    i = np.arange(40.0).reshape(shape)
    stats = {"xpos": i, "ypos": 64 + 0 * i, "zpos": -i, "yaw": i / 2, "pitch": -i / 4}
    minerl(tmp_path / "in", STREAM, **{f"observation$location_stats${name}": x for name, x in stats.items()})
    (episode,) = imported("minerl", tmp_path / "in", tmp_path / "raw").values()
    t = np.arange(40)
    assert np.array_equal(episode.poses, np.stack([t, 64 + 0 * t, -t, t / 2, -t / 4], 1).astype(np.float32))


def test_segments_cut_the_arrays_alongside(tmp_path: Path) -> None:
    minerl(tmp_path / "in", STREAM)
    parts = imported("minerl", tmp_path / "in", tmp_path / "raw", "--segment-frames", "16", "--min-frames", "4")
    parts = list(parts.values())
    assert [part.numbers for part in parts] == [list(range(5, 21)), list(range(21, 37)), list(range(37, 45))]
    for part in parts:
        assert not part.actions[0].any()
        # Frame 5 + t of the video is produced by action t - 1.
        assert np.array_equal(part.column("camera_pitch")[1:], np.array(part.numbers[1:]) - 6 + np.float32(0.625))
        assert part.record.source.first_frame == part.numbers[0] - 5


def test_streams_of_one_recording_share_a_world(tmp_path: Path) -> None:
    minerl(tmp_path / "in", STREAM)
    minerl(tmp_path / "in", "MineRLObtainDiamond-v0/v3_absolute_grape_changeling-9_1-40")
    minerl(tmp_path / "in", "MineRLObtainDiamond-v0/v3_cute_breadfruit_spirit-2_1-40")
    found = imported("minerl", tmp_path / "in", tmp_path / "raw").values()
    worlds = [episode.record.source.world for episode in found]
    assert sorted(worlds) == ["minerl-absolute_grape_changeling"] * 2 + ["minerl-cute_breadfruit_spirit"]


def test_actions_without_a_column_are_named(tmp_path: Path) -> None:
    minerl(tmp_path / "in", STREAM, **{"action$fly": np.zeros(39)})
    (episode,) = imported("minerl", tmp_path / "in", tmp_path / "raw").values()
    assert episode.record.source.settings["actions_left_out"] == "action$fly"


def test_too_few_frames_in_the_metadata(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    minerl(tmp_path / "in", STREAM, leading=-2)
    assert import_set("minerl", tmp_path / "in", tmp_path / "raw") == 2
    told = capsys.readouterr().err
    assert "metadata.json: field true_video_frame_count is 38, but rendered.npz holds 40 states" in told
