"""`mstv-data stats`: every number against one worked out by hand, for raw episodes and for frame shards alike."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_tools.cli import main
from data_tools.composition import Splitting
from data_tools.episode_writer import write_episode
from data_tools.set_statistics import SetStatistics
from data_tools.sharding import Sharding, make_shards
from data_tools.stats import set_statistics
from mstv.data.revisits import Tolerance
from mstv.data.schema import MANIFEST, ActionSpec, Source, split_of
from tests.data_tools.conftest import moving_frames

WORLDS = {"train": ("a", "b"), "validation": ("c",), "test": ("d",)}
VECTOR = ActionSpec(kind="vector", names=("move", "yaw_degrees"), units=("blocks", "degrees"))


@pytest.fixture
def shards(raw: Path, tmp_path: Path) -> Path:
    make_shards(raw, tmp_path / "shards", Sharding(16, 1, splitting=Splitting(worlds=WORLDS)), workers=1)
    return tmp_path / "shards"


def there_and_back(folder: Path, key: str = "walk", world: str = "a", **changes: object) -> None:
    """Five blocks along x, a half turn, and back: 11 frames at 10 frames/s; nothing else moves."""
    poses = np.zeros((11, 5), np.float32)
    poses[:, 0] = [0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0]
    poses[:, 3] = [350] * 6 + [170] * 5
    actions = np.zeros((11, 2), np.float32)
    actions[1:, 0] = 1
    actions[6, 1] = 180
    options = {"actions": actions, "poses": poses, "spec": VECTOR, "fps": 10.0, **changes}
    write_episode(folder, key, moving_frames(11, 0), source=Source(engine="test", world=world), **options)


def test_splits_of_shards(shards: Path) -> None:
    found = set_statistics(shards, workers=1)
    assert found.kind == "frames" and found.fps == (20.0,) and found.image_sizes == ((32, 48),)
    by_split = {row.split: row for row in found.splits}
    assert {name: (row.episodes, row.frames, row.worlds) for name, row in by_split.items()} == {
        "train": (3, 89, 2),
        "validation": (1, 24, 1),
        "test": (1, 50, 1),
    }
    total = found.total
    assert (total.split, total.episodes, total.frames, total.worlds) == ("all", 5, 163, 4)
    assert total.hours == pytest.approx(163 / 20 / 3600)
    assert total.num_bytes == sum(path.stat().st_size for path in shards.glob("*.tar"))


def test_raw_and_shards_and_any_number_of_workers_agree(raw: Path, shards: Path) -> None:
    one, two, packed = set_statistics(raw, workers=1), set_statistics(raw, workers=2), set_statistics(shards, workers=2)
    assert one == two
    assert one.actions == packed.actions
    assert one.total.num_bytes == sum(path.stat().st_size for path in raw.iterdir())
    same = {"num_bytes": 0, "distance": None}
    assert one.total.model_copy(update=same) == packed.total.model_copy(update=same)
    assert one.total.distance == pytest.approx(packed.total.distance)
    assert {row.split for row in one.splits} == {split_of(world) for world in "abcd"}


def test_no_video_is_read(raw: Path, shards: Path) -> None:
    expected = set_statistics(raw, workers=1).total.model_copy(update={"num_bytes": 0})
    for video in raw.glob("*.mp4"):
        video.unlink()
    assert set_statistics(raw, workers=1).total.model_copy(update={"num_bytes": 0}) == expected


def test_discrete_actions_without_first_frames(raw: Path) -> None:
    actions = np.concatenate([np.load(path)[1:] for path in raw.glob("*.actions.npy")])
    (found,) = set_statistics(raw, workers=1).actions
    assert (found.kind, found.episodes, found.frames, found.null) == ("discrete", 5, len(actions), 0.0)
    assert [(count.name, count.frames) for count in found.counts] == [
        (name, int((actions == action).sum())) for action, name in enumerate(("forward", "turn_left", "turn_right"))
    ]
    assert sum(count.share for count in found.counts) == pytest.approx(1)


def test_vector_actions_and_walk(tmp_path: Path) -> None:
    there_and_back(tmp_path / "raw")
    null = np.zeros((11, 2), np.float32)
    there_and_back(tmp_path / "raw", "still", actions=null, poses=np.zeros((11, 5), np.float32))
    found = set_statistics(tmp_path / "raw", revisit_gap=4, tolerance=Tolerance(0.5, 15.0), workers=1)
    (actions,) = found.actions
    assert (actions.frames, actions.null) == (20, 0.5)
    move, yaw = actions.columns
    assert (move.mean, move.std, move.minimum, move.maximum, move.nonzero) == pytest.approx((0.5, 0.5, 0, 1, 0.5))
    turns = np.array([180.0] + [0.0] * 19)
    assert (yaw.name, yaw.unit, yaw.nonzero) == ("yaw_degrees", "degrees", 0.05)
    assert (yaw.mean, yaw.std, yaw.maximum) == pytest.approx((turns.mean(), turns.std(), 180))
    assert found.total.distance == pytest.approx(10)
    assert found.total.turning == pytest.approx(1 / 20)
    # The way back looks the other way; of the one who stands still, frames 5 to 10 come more than 4 after the first.
    assert found.total.revisit_rate == {4: 6 / 22, 64: 0, 128: 0, 256: 0, 512: 0}
    wide = set_statistics(tmp_path / "raw", revisit_gap=4, tolerance=Tolerance(0.5, 180.0), workers=1)
    assert wide.total.revisit_rate is not None and wide.total.revisit_rate[4] == (3 + 6) / 22


def test_differing_episodes_and_none_of_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there_and_back(tmp_path / "raw")
    there_and_back(tmp_path / "raw", "bare", "b", actions=None, poses=None, spec=None, fps=30.0)
    found = set_statistics(tmp_path / "raw", workers=1)
    assert found.fps == (10.0, 30.0) and {actions.kind for actions in found.actions} == {"none", "vector"}
    assert (found.total.pose_frames, found.total.hours) == (11, pytest.approx((1.1 + 11 / 30) / 3600))
    (tmp_path / "raw" / "walk.json").unlink()
    assert main(["stats", str(tmp_path / "raw"), "--workers", "1"]) == 0
    told = capsys.readouterr().out
    assert "no poses" in told and "1 episodes without actions" in told


def test_poses_that_are_no_numbers(tmp_path: Path) -> None:
    poses = np.zeros((11, 5), np.float32)
    poses[:, 0] = np.arange(11)
    poses[5] = np.nan
    there_and_back(tmp_path / "raw", poses=poses)
    total = set_statistics(tmp_path / "raw", workers=1).total
    assert (total.pose_frames, total.distance, total.turning) == (10, 8, 0)


def test_command_prints_and_writes_json(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made" / "stats.json"
    assert main(["stats", str(shards), "--revisit-gap", "8", "--json", str(out), "--workers", "1"]) == 0
    found = SetStatistics.read(out)
    assert found == set_statistics(shards, 8, workers=1)
    assert json.loads(out.read_text())["schema_version"] == 1
    told = capsys.readouterr().out
    for text in ("validation", "163", "N=8", "N=512", "turn_left", "32x48 pixels", "20 frames/s"):
        assert text in told
    assert all(len(line) <= 110 for line in told.splitlines()) and "…" not in told


def _no_folder(folder: Path) -> Path:
    return folder / "absent"


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def _no_tar(folder: Path) -> Path:
    (folder / "shards" / "test-000000.tar").unlink()
    return folder / "shards"


def _cut_tar(folder: Path) -> Path:
    path = folder / "shards" / "test-000000.tar"
    path.write_bytes(path.read_bytes()[:3000])
    return folder / "shards"


def _other_tar(folder: Path) -> Path:
    shutil.copy(folder / "shards" / "train-000000.tar", folder / "shards" / "test-000000.tar")
    return folder / "shards"


def _changed_array(folder: Path) -> Path:
    path = folder / "raw" / "walk-0.poses.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    return folder / "raw"


def _bad_manifest(folder: Path) -> Path:
    (folder / "shards" / MANIFEST).write_text("{")
    return folder / "shards"


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_no_folder, "no such folder"),
        (_empty, "holds no complete episode"),
        (_no_tar, "test-000000.tar: cannot be read"),
        (_cut_tar, "test-000000.tar: member walk-4"),
        (_other_tar, "walk-4-00000.json is missing"),
        (_changed_array, "walk-0.poses.npy: is not what was written"),
        (_bad_manifest, "manifest.json: not valid JSON"),
    ],
)
def test_harm_is_one_line(harm, told: str, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(harm(tmp_path)), "--workers", "1"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("mstv-data: error: ") and told in error


def test_json_into_a_folder_is_refused(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(raw), "--json", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
