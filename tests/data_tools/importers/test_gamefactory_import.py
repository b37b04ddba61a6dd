"""`mstv-data import gamefactory`."""

from pathlib import Path

import numpy as np

from tests.data_tools.importers.foreign_sets import gamefactory, imported


def test_entry_k_produced_frame_k(tmp_path: Path) -> None:
    gamefactory(tmp_path / "in" / "data_2003", "seed_12_part_3")
    (key, episode), *rest = imported("gamefactory", tmp_path / "in", tmp_path / "raw").items()
    assert not rest and key == "data_2003-video-seed_12_part_3-0000"
    assert episode.numbers == list(range(40))
    assert not episode.actions[0].any()  # entry 0 means nothing, whatever it says
    k = np.arange(1, 40)
    assert np.allclose(episode.column("camera_pitch")[1:], k * 1.5, atol=1e-4)
    assert np.allclose(episode.column("camera_yaw")[1:], -k * 0.15, atol=1e-5)
    for name, pressed in {
        "forward": k % 3 == 1,
        "back": k % 3 == 2,
        "left": k % 3 == 1,
        "right": k % 3 == 0,
        "jump": k % 4 == 1,
        "sneak": k % 4 == 2,
        "sprint": k % 4 == 3,
    }.items():
        assert np.array_equal(episode.column(name)[1:], pressed), name
    record = episode.record
    assert (record.action_shift, record.fps, episode.poses) == (0, 16, None)


def test_keyboard_sets_poses_and_worlds(tmp_path: Path) -> None:
    gamefactory(tmp_path / "in" / "data_2003", "seed_12_part_3")
    gamefactory(tmp_path / "in" / "data_2003", "seed_120_part_1")

    def change(entry: dict[str, object]) -> None:
        del entry["pitch_delta"], entry["yaw_delta"]
        entry.update(pos=[1.5, 64, -3], yaw=90.0, pitch=-10)

    gamefactory(tmp_path / "in" / "data_269", "seed_12_part_1", change=change)
    found = imported("gamefactory", tmp_path / "in", tmp_path / "raw")
    worlds = {key: episode.record.source.world for key, episode in found.items()}
    assert worlds == {
        "data_2003-video-seed_12_part_3-0000": "gamefactory-seed_12",
        "data_2003-video-seed_120_part_1-0000": "gamefactory-seed_120",
        "data_269-video-seed_12_part_1-0000": "gamefactory-seed_12",
    }
    keyboard = found["data_269-video-seed_12_part_1-0000"]
    assert not keyboard.column("camera_yaw").any() and keyboard.column("forward").any()
    assert keyboard.poses.tolist() == [[1.5, 64, -3, 90, -10]] * 40
