"""`mstv-data shard`: nothing is lost, the bytes are always the same, splits hold, and restarts finish the work."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from data_tools import sharding
from data_tools.cli import main
from data_tools.composition import Splitting, compose
from data_tools.episode import RawEpisodes
from data_tools.sharding import Sharding, make_shards
from mstv.data.schema import ACTIONS, MANIFEST, POSES, ActionSpec, Chunk, read_manifest, split_of
from mstv.data.shards import read_episode_frames, read_samples
from mstv.data.video import decode_video
from mstv.errors import UserError
from tests.data_tools.conftest import tiny_episode

SETTINGS = Sharding(
    chunk_frames=16,
    episodes_per_shard=2,
    splitting=Splitting(worlds={"train": ("a", "b"), "validation": ("c",), "test": ("d",)}),
)
COMMAND = ["--chunk-frames", "16", "--episodes-per-shard", "2", "--workers", "1"]
COMMAND += ["--train-worlds", "a,b", "--validation-worlds", "c", "--test-worlds", "d"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_frames_actions_and_poses_come_back(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    manifest, written = make_shards(raw, out, SETTINGS, workers=1)
    assert read_manifest(out, "frames") == manifest
    assert [shard.name for shard in manifest.shards] == [
        "test-000000.tar",
        "train-000000.tar",
        "train-000001.tar",
        "validation-000000.tar",
    ]
    assert written == 4
    source = RawEpisodes(raw)
    assert sum(shard.num_frames for shard in manifest.shards) == sum(e.num_frames for e in source.records.values())
    for key, record in source.records.items():
        frames, actions, poses, episode = read_episode_frames(out, manifest, key)
        assert episode == record
        assert np.array_equal(frames, decode_video(source.video(key)))
        assert np.array_equal(actions, source.array(key, ACTIONS))  # type: ignore[arg-type]
        assert np.array_equal(poses, source.array(key, POSES))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="episode other"):
        read_episode_frames(out, manifest, "other")


def test_samples_follow_the_contract(raw: Path, tmp_path: Path) -> None:
    make_shards(raw, tmp_path / "shards", SETTINGS, workers=1)
    samples = list(read_samples(tmp_path / "shards" / "train-000000.tar"))
    assert [key for key, _ in samples] == [
        *(Chunk.sample_key("walk-0", number) for number in range(3)),
        *(Chunk.sample_key("walk-1", number) for number in range(3)),
    ]
    chunks = [Chunk.parse(members["json"], key) for key, members in samples]
    assert [(chunk.first_frame, chunk.num_frames) for chunk in chunks] == [
        (0, 16),
        (16, 16),
        (32, 8),
        (0, 16),
        (16, 16),
        (32, 1),
    ]
    assert set(samples[0][1]) == {"mp4", "actions.npy", "poses.npy", "json"}


def test_episodes_without_actions_and_poses(tmp_path: Path) -> None:
    from data_tools.episode_writer import write_episode
    from mstv.data.schema import Source
    from tests.data_tools.conftest import moving_frames

    write_episode(tmp_path / "raw", "film", moving_frames(20, 0), 25.0, Source(engine="videos", world="film"))
    manifest, _ = make_shards(tmp_path / "raw", tmp_path / "shards", Sharding(), workers=1)
    frames, actions, poses, _ = read_episode_frames(tmp_path / "shards", manifest, "film")
    assert (len(frames), actions, poses, manifest.actions.kind) == (20, None, None, "none")


def test_the_bytes_are_always_the_same(raw: Path, tmp_path: Path) -> None:
    make_shards(raw, tmp_path / "one", SETTINGS, workers=1)
    make_shards(raw, tmp_path / "two", SETTINGS, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert set(contents(tmp_path / "one")) == {
        MANIFEST,
        *(f"{name}.tar" for name in ("train-000000", "train-000001", "validation-000000", "test-000000")),
    }


def test_a_second_run_changes_nothing_and_says_so(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["shard", str(raw), str(tmp_path / "shards"), *COMMAND]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "wrote 4 tars" in told and "train: 3 episodes of 2 worlds, 89 frames, 2 tars" in told
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").iterdir()}
    assert main(command) == 0
    assert "is up to date" in capsys.readouterr().out
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").iterdir()}


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_interrupted_run_is_finished_by_the_next(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    make_shards(raw, tmp_path / "whole", SETTINGS, workers=1)
    original = sharding.write_frame_shard
    calls = 0

    def interrupted(*arguments):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls > after:
            raise KeyboardInterrupt
        return original(*arguments)

    out = tmp_path / "shards"
    with monkeypatch.context() as patch:
        patch.setattr(sharding, "write_frame_shard", interrupted)
        assert main(["shard", str(raw), str(out), *COMMAND]) == 130
    assert not (out / MANIFEST).exists()
    assert len(list(out.glob("*.tar"))) == after
    _, written = make_shards(raw, out, SETTINGS, workers=1)
    assert written == 4 - after
    assert contents(out) == contents(tmp_path / "whole")


def test_a_tar_that_was_damaged_meanwhile_is_made_again(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    make_shards(raw, out, SETTINGS, workers=1)
    before = contents(out)
    for damage in (lambda data: data[:4000], lambda data: data[:3000] + b"x" + data[3001:]):
        path = out / "train-000000.tar"
        path.write_bytes(damage(path.read_bytes()))
        assert make_shards(raw, out, SETTINGS, workers=1)[1] == 1
        assert contents(out) == before


def test_a_grown_set_rebuilds_only_what_changed(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    make_shards(raw, out, SETTINGS, workers=1)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    tiny_episode(raw, "walk-5", "b", 24, seed=5)  # joins walk-2 in train-000001
    manifest, written = make_shards(raw, out, SETTINGS, workers=1)
    changed = {path.name for path in out.glob("*.tar") if path.stat().st_mtime_ns != before.get(path.name)}
    assert (written, changed) == (1, {"train-000001.tar"})
    assert sum(len(shard.episodes) for shard in manifest.shards) == 6
    make_shards(raw, tmp_path / "fresh", SETTINGS, workers=1)
    assert contents(out) == contents(tmp_path / "fresh")


def test_an_episode_that_was_recorded_anew_is_packed_anew(raw: Path, tmp_path: Path) -> None:
    make_shards(raw, tmp_path / "shards", SETTINGS, workers=1)
    tiny_episode(raw, "walk-3", "c", 24, seed=99)
    assert make_shards(raw, tmp_path / "shards", SETTINGS, workers=1)[1] == 1
    make_shards(raw, tmp_path / "fresh", SETTINGS, workers=1)
    assert contents(tmp_path / "shards") == contents(tmp_path / "fresh")


def test_changed_settings_leave_no_old_tars(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    make_shards(raw, out, SETTINGS, workers=1)
    for settings in (Sharding(8, 1, splitting=SETTINGS.splitting), Sharding(16, 9), SETTINGS):
        manifest, _ = make_shards(raw, out, settings, workers=1)
        assert {path.name for path in out.glob("*.tar")} == {shard.name for shard in manifest.shards}
        shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
        make_shards(raw, tmp_path / "fresh", settings, workers=1)
        assert contents(out) == contents(tmp_path / "fresh")


def test_no_manifest_stands_while_tars_change(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "shards"
    make_shards(raw, out, SETTINGS, workers=1)
    original = sharding.write_frame_shard

    def watching(*arguments):  # type: ignore[no-untyped-def]
        assert not (out / MANIFEST).exists()
        return original(*arguments)

    monkeypatch.setattr(sharding, "write_frame_shard", watching)
    assert make_shards(raw, out, Sharding(8, 2, splitting=SETTINGS.splitting), workers=1)[1] == 4


def test_a_world_keeps_its_split_as_a_set_grows(raw: Path, tmp_path: Path) -> None:
    def homes() -> dict[str, str]:
        tars = compose(RawEpisodes(raw), Splitting(), 2, 1)
        records = RawEpisodes(raw).records
        return {records[key].source.world: name.split("-")[0] for name, keys in tars.items() for key in keys}

    before = homes()
    for number in range(6):
        tiny_episode(raw, f"new-{number}", f"new-{number}", 8)
    after = homes()
    assert {world: after[world] for world in before} == before
    assert after == {world: split_of(world) for world in after}


def test_shards_close_by_size(raw: Path) -> None:
    records = RawEpisodes(raw)
    splitting = Splitting((1.0, 0.0, 0.0))
    assert [len(keys) for keys in compose(records, splitting, None, 1).values()] == [1] * 5
    assert [len(keys) for keys in compose(records, splitting, None, 10**9).values()] == [5]
    assert [len(keys) for keys in compose(records, splitting, 2, 1).values()] == [2, 2, 1]


def test_an_empty_split_is_told(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shard", str(raw), str(tmp_path / "s"), "--fractions", "1,0,0", "--workers", "1"]) == 0
    told = capsys.readouterr().out
    assert "warning: validation is empty: assign worlds to it with --validation-worlds" in told
    assert "warning: test is empty" in told and "warning: train" not in told


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"size": (16, 48)}, "height"),
        ({"size": (32, 64)}, "width"),
        ({"fps": 10.0}, "fps"),
        ({"spec": ActionSpec(kind="discrete", names=("a", "b", "c"))}, "actions"),
        ({"spec": None, "actions": None}, "actions"),
    ],
)
def test_mixed_episodes_are_refused(raw: Path, tmp_path: Path, changes: dict, field: str) -> None:
    tiny_episode(raw, "zebra", "z", 16, **changes)
    with pytest.raises(UserError, match=f"episodes walk-0 and zebra differ in field {field}"):
        make_shards(raw, tmp_path / "shards", SETTINGS, workers=1)
    assert not (tmp_path / "shards").exists()


def test_damaged_raw_episodes_are_named(raw: Path, tmp_path: Path) -> None:
    def swap(path: Path) -> None:
        shutil.copy(raw / "walk-1.mp4", path)

    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:500])

    for damage in (swap, cut, Path.unlink, lambda path: path.write_bytes(b"")):
        whole = (raw / "walk-0.mp4").read_bytes()
        damage(raw / "walk-0.mp4")
        with pytest.raises(UserError, match=r"walk-0\.mp4"):
            make_shards(raw, tmp_path / "shards", SETTINGS, workers=1)
        assert not (tmp_path / "shards" / MANIFEST).exists()
        (raw / "walk-0.mp4").write_bytes(whole)


def test_folders_that_cannot_be_sharded(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "train-000000.tar").touch()
    for source, out, options, problem in (
        (tmp_path / "absent", tmp_path / "s", [], "absent: no such folder"),
        (tmp_path / "empty", tmp_path / "s", [], "empty: holds no complete episode"),
        (raw, raw, [], "is the folder of the raw episodes"),
        (raw, tmp_path / "file", [], "choose another output folder"),
        (raw, Path("/proc/mstv"), [], "choose another output folder"),
        (raw, tmp_path / "foreign", [], "was there before"),
        (raw, tmp_path / "s", ["--chunk-frames", "12"], "multiple of 8"),
        (raw, tmp_path / "s", ["--fractions", ".5,.1,.1"], "sum to 1"),
        (raw, tmp_path / "s", ["--test-worlds", "mars"], "world mars: no episode"),
        (raw, tmp_path / "s", ["--test-worlds", "a", "--train-worlds", "a"], "world a: is named for"),
    ):
        assert main(["shard", str(source), str(out), "--workers", "1", *options]) == 2
        assert problem in capsys.readouterr().err


def test_a_manifest_of_another_version_is_told(raw: Path, tmp_path: Path) -> None:
    make_shards(raw, tmp_path / "s", SETTINGS, workers=1)
    path = tmp_path / "s" / MANIFEST
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 7', 1))
    with pytest.raises(UserError, match=r"schema_version is 7.*remove .* first"):
        make_shards(raw, tmp_path / "s", SETTINGS, workers=1)


def test_the_set_of_other_episodes_is_not_replaced(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["shard", str(raw), str(tmp_path / "shards"), "--chunk-frames", "16"]) == 0
    before = contents(tmp_path / "shards")
    shutil.copytree(raw, tmp_path / "other")
    assert main(["shard", str(tmp_path / "other"), str(tmp_path / "shards"), "--chunk-frames", "16"]) == 2
    assert "field source is ../raw, but ../other is given" in capsys.readouterr().err
    assert contents(tmp_path / "shards") == before
