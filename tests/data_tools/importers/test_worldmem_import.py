"""`mstv-data import worldmem` and `teco`: videos with npz."""

from pathlib import Path

import numpy as np

from tests.data_tools.importers.foreign_sets import imported, teco, worldmem


def test_worldmem_camera_indices_become_degrees(tmp_path: Path) -> None:
    worldmem(tmp_path / "in", "training/desert/3/000007")
    (key, episode), *rest = imported("worldmem", tmp_path / "in", tmp_path / "raw").items()
    assert not rest and key == "training-desert-3-000007-0000"
    assert episode.numbers == list(range(40))
    assert not episode.actions[0].any()
    i = np.arange(1, 40)
    assert np.array_equal(episode.column("camera_pitch")[1:], (i % 25 - 12) * 15)
    assert np.array_equal(episode.column("camera_yaw")[1:], (12 - i % 25) * 15)
    choices = {"forward": (3, 1), "back": (3, 2), "left": (3, 1), "right": (3, 2), "jump": (4, 1), "sneak": (4, 2)}
    choices |= {"sprint": (4, 3), "use": (8, 1), "drop": (8, 2), "attack": (8, 3), "place": (8, 6), "destroy": (8, 7)}
    for name, (modulus, rest) in choices.items():
        assert np.array_equal(episode.column(name)[1:], i % modulus == rest), name
    assert np.array_equal(episode.column("craft_item")[1:], i % 9)
    assert np.array_equal(episode.column("inventory_slot")[1:], i % 36)
    t = np.arange(40)
    # Theirs are x, y, z, pitch, yaw; ours end with yaw, pitch.
    assert np.array_equal(episode.poses, np.stack([t, 64 + 0 * t, -t, -t, t], 1).astype(np.float32))
    record = episode.record
    assert (record.action_shift, record.fps, record.source.settings["published_split"]) == (0, 10, "train")


def test_worldmem_splits_and_a_missing_first_pose(tmp_path: Path) -> None:
    i = np.arange(1, 40.0)
    worldmem(tmp_path / "in", "test/000001", poses=np.stack([i, i, i, i, i], 1))
    worldmem(tmp_path / "in", "validation/000001")
    found = imported("worldmem", tmp_path / "in", tmp_path / "raw")
    assert [e.record.source.settings["published_split"] for e in found.values()] == ["test", "validation"]
    assert len({e.record.source.world for e in found.values()}) == 2
    assert found["test-000001-0000"].poses[:, 0].tolist() == [1, *range(1, 40)]
    (episode,) = imported("worldmem", tmp_path / "in" / "validation", tmp_path / "one").values()
    assert episode.record.source.settings["published_split"] == "validation"


def test_teco_ids_and_the_entry_without_a_frame(tmp_path: Path) -> None:
    teco(tmp_path / "in", "train/12/000003")
    teco(tmp_path / "in", "test/12/000003")
    found = imported("teco", tmp_path / "in", tmp_path / "raw", "--segment-frames", "24", "--min-frames", "8")
    assert list(found) == [f"{name}-12-000003-000{part}" for name in ("test", "train") for part in (0, 1)]
    first, second = found["train-12-000003-0000"], found["train-12-000003-0001"]
    assert first.numbers == list(range(24)) and second.numbers == list(range(24, 40))
    # Entry i, 1 + i % 3 in the file, produced frame i; the first of a segment is null.
    assert first.actions.tolist() == [-1, *(i % 3 for i in range(1, 24))]
    assert second.actions.tolist() == [-1, *(i % 3 for i in range(25, 40))]
    record = first.record
    assert (record.actions.names, record.action_shift, record.fps) == (("forward", "left", "right"), 0, 20)
    assert record.source.settings["published_split"] == "train" and first.poses is None
