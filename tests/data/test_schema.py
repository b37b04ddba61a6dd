"""The contract: records that are read back, and those that are refused."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mstv.data.schema import (
    MANIFEST,
    SCHEMA_VERSION,
    ActionSpec,
    Chunk,
    Episode,
    Manifest,
    Shard,
    Source,
    atomic_path,
    read_manifest,
    safe_key,
    split_of,
)
from mstv.errors import UserError

EPISODE = Episode(key="a-1", fps=20, num_frames=3, height=4, width=6, source=Source(engine="test", world="w"))


def _shard(name: str, world: str) -> Shard:
    return Shard(name=name, num_samples=1, num_frames=3, num_bytes=9, sha256="0", episodes={"a": 3}, worlds=(world,))


def _manifest(*shards: Shard) -> Manifest:
    return Manifest(kind="frames", fps=20, image_size=(4, 6), actions=ActionSpec(), chunk_frames=8, shards=shards)


def test_records_round_trip(tmp_path: Path) -> None:
    EPISODE.write(tmp_path / "a-1.json")
    assert Episode.read(tmp_path / "a-1.json") == EPISODE
    chunk = Chunk(episode=EPISODE, chunk=0, first_frame=0, num_frames=3, checksums={"frames": "0"})
    assert Chunk.parse(chunk.to_bytes(), "here") == chunk


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "field schema_version is 2, this mstv reads 1"),
        ({"schema_version": None}, "field schema_version is None"),
        ({"num_frames": 0}, "field num_frames"),
        ({"key": "../x"}, "field key"),
        ({"key": "a.b"}, "field key"),
        ({"surprise": 1}, "field surprise"),
        ({"source": {"engine": "test"}}, "field source.world"),
    ],
)
def test_records_that_do_not_fit_are_refused(change: dict, problem: str) -> None:
    text = json.dumps({**json.loads(EPISODE.to_bytes()), **change})
    with pytest.raises(UserError, match=f"here: {problem}"):
        Episode.parse(text, "here")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"key": "a"}', b"\xff\xfe"])
def test_what_is_no_record_is_refused(text: str | bytes) -> None:
    with pytest.raises(UserError, match="here: "):
        Episode.parse(text, "here")


def test_manifests_of_another_version_or_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_manifest(tmp_path / "absent", "frames")
    with pytest.raises(UserError, match=r"holds no manifest\.json"):
        read_manifest(tmp_path, "frames")
    manifest = _manifest(_shard("train-000000.tar", "w"))
    manifest.write(tmp_path / MANIFEST)
    assert read_manifest(tmp_path, "frames") == manifest
    with pytest.raises(UserError, match="field kind is frames, expected latents"):
        read_manifest(tmp_path, "latents")
    text = (tmp_path / MANIFEST).read_text().replace('"schema_version": 1', '"schema_version": 0')
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json: field schema_version is 0"):
        read_manifest(tmp_path, "frames")


def test_a_world_in_two_splits_is_refused() -> None:
    _manifest(_shard("train-000000.tar", "w"), _shard("train-000001.tar", "w"))
    with pytest.raises(ValueError, match="splits leak"):
        _manifest(_shard("train-000000.tar", "w"), _shard("test-000000.tar", "w"))


@pytest.mark.parametrize("name", ["../train-000000.tar", "train-1.tar", "train-000000.tar.gz"])
def test_shard_names_stay_in_their_folder(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        _shard(name, "w")


def test_actions_are_checked() -> None:
    discrete = ActionSpec(kind="discrete", names=("forward", "left"))
    vector = ActionSpec(kind="vector", names=("yaw",), units=("degrees",))
    discrete.check(np.array([-1, 0, 1], np.int16), 3, "here")
    vector.check(np.zeros((3, 1), np.float32), 3, "here")
    ActionSpec().check(None, 3, "here")
    for spec, actions in (
        (discrete, np.array([0, 2, 0], np.int16)),
        (discrete, np.array([0, -2, 0], np.int16)),
        (discrete, np.array([0, 1], np.int16)),
        (discrete, np.array([0, 1, 0], np.int64)),
        (discrete, None),
        (vector, np.full((3, 1), np.nan, np.float32)),
        (vector, np.zeros((3, 2), np.float32)),
        (ActionSpec(), np.zeros(3, np.int16)),
    ):
        with pytest.raises(UserError, match="here: "):
            spec.check(actions, 3, "here")


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20), st.text(min_size=1))
def test_the_split_of_a_world_does_not_depend_on_others(worlds: list[str], newcomer: str) -> None:
    before = {world: split_of(world) for world in worlds}
    split_of(newcomer)
    assert before == {world: split_of(world) for world in worlds}


def test_splits_have_their_fractions_and_never_change() -> None:
    splits = [split_of(f"world-{number}") for number in range(4000)]
    assert abs(splits.count("train") / 4000 - 0.8) < 0.02
    assert abs(splits.count("test") / 4000 - 0.1) < 0.015
    # Fixed for good: a set that grows years later must not move a world.
    assert [split_of(f"blockworld-{number}") for number in (0, 1, 10, 13, 16, 17)] == FIXED_SPLITS
    assert split_of("any", (0.0, 0.0, 1.0)) == "test"


FIXED_SPLITS = ["train", "validation", "test", "test", "validation", "validation"]


@given(st.text())
def test_safe_keys_fit_the_pattern(name: str) -> None:
    Episode(**{**EPISODE.model_dump(), "key": safe_key(name)})


def test_atomic_path_leaves_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_path(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("two")
        raise RuntimeError
    assert path.read_text() == "one"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_unwritable_places_are_user_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "x", Path("/proc/mstv/x")):
        with pytest.raises(UserError, match="choose another output folder"), atomic_path(path) as temporary:
            temporary.write_text("never")
    for path in (Path("/proc/x"), tmp_path / ("x" * 250)):  # folders that take no such file
        with pytest.raises(UserError, match=f"^{path}: cannot be written"), atomic_path(path) as temporary:
            temporary.write_text("never")
    with pytest.raises(UserError, match="x: cannot be written"), atomic_path(tmp_path / "x") as temporary:
        raise PermissionError(errno.EACCES, "Permission denied", str(temporary))
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x"):
        (tmp_path / "absent").read_text()
    with pytest.raises(UserError, match="No space left"), atomic_path(tmp_path / "full"):
        raise OSError(errno.ENOSPC, "No space left on device")
