"""`mstv-data import loopcraft`."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from data_tools.importers.loopcraft import published_test
from tests.data_tools.importers.foreign_sets import import_set, imported, loopcraft, write_json


def test_ids_and_poses(tmp_path: Path) -> None:
    loopcraft(tmp_path / "in", "008/071")
    loopcraft(tmp_path / "in", "008/072")
    loopcraft(tmp_path / "in", "009/000")
    found = imported("loopcraft", tmp_path / "in", tmp_path / "raw")
    assert list(found) == ["008-071-0000", "008-072-0000", "009-000-0000"]
    episode = found["008-071-0000"]
    assert episode.numbers == list(range(40))
    assert episode.actions.tolist() == [-1, *(i % 3 for i in range(1, 40))]
    assert episode.poses[:, 0].tolist() == list(range(40)) and episode.poses[4].tolist() == [4, 2, -4, 0, 0]
    record = episode.record
    assert (record.actions.kind, record.actions.names) == ("discrete", ("forward", "turn_1", "turn_2"))
    assert (record.action_shift, record.source.settings["published_split"], record.subset) == (0, "train", False)
    assert [e.record.source.world for e in found.values()] == ["loopcraft-008", "loopcraft-008", "loopcraft-009"]


def test_the_yaw_tells_ids_that_follow_their_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, 40)
    yaw = np.cumsum([350, *np.where(ids[:-1] == 1, -22.5, np.where(ids[:-1] == 2, 22.5, 0))]) % 360
    loopcraft(tmp_path / "in", "1", np.stack([ids, *(0 * ids,) * 3, yaw, 0 * ids], 1).astype(np.float32))
    (episode,) = imported("loopcraft", tmp_path / "in", tmp_path / "raw").values()
    assert episode.actions.tolist() == [-1, *ids[:-1]]
    assert episode.record.action_shift == 1


def test_the_published_split_is_reproduced(tmp_path: Path) -> None:
    frames = {f"{n // 100:03d}/{n % 100:03d}": 40 for n in reversed(range(250))}
    keys = sorted(frames)
    random.Random(0).shuffle(keys)
    assert published_test(frames) == set(keys[:2])
    loopcraft(tmp_path / "in", keys[1])
    loopcraft(tmp_path / "in", keys[2])
    write_json(tmp_path / "in" / "index.json", frames)
    found = imported("loopcraft", tmp_path / "in", tmp_path / "raw")
    split = {e.record.source.file: e.record.source.settings["published_split"] for e in found.values()}
    assert split == {f"{keys[1]}.mp4": "test", f"{keys[2]}.mp4": "train"}
    assert all(episode.record.subset for episode in found.values())  # 248 walks are not here


@pytest.mark.parametrize("name", ["../out/071", "/etc/passwd", "a/../../b", "", "a\\b", "x" * 300, "a/" * 50, "\0"])
def test_an_index_does_not_lead_out_of_the_folder(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    loopcraft(tmp_path / "out", "071")
    loopcraft(tmp_path / "in", "008/071")
    write_json(tmp_path / "in" / "index.json", {"008/071": 40, name: 40})
    assert import_set("loopcraft", tmp_path / "in", tmp_path / "raw") == 2
    assert "index.json: entry" in (told := capsys.readouterr().err) and "is no path below this folder" in told


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        ("{", "not valid JSON"),
        ("[]", "is no object of frame counts"),
        ('{"008/071": "x"}', "field frames is 'x'"),
        ('{"008/071": 41}', "holds 40 rows, but index.json says 41 frames"),
        ('{"1": 4}', "no file of them is here"),
        (None, "index.json: is missing"),
    ],
)
def test_damaged_indices(tmp_path: Path, index: str | None, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    loopcraft(tmp_path / "in", "008/071")
    path = tmp_path / "in" / "index.json"
    assert json.loads(path.read_text())
    path.unlink() if index is None else path.write_text(index)
    assert import_set("loopcraft", tmp_path / "in", tmp_path / "raw") == 2
    assert problem in capsys.readouterr().err
