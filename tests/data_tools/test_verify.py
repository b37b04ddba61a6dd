"""`mstv-data verify`: sound sets pass, and every kind of harm is found and named."""

import io
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_tools.cli import main
from data_tools.composition import Splitting
from data_tools.episode_writer import write_episode
from data_tools.sharding import Sharding, make_shards
from data_tools.verify import verify
from mstv.data.schema import (
    MANIFEST,
    TOKENIZER_COPY,
    Chunk,
    Episode,
    Manifest,
    Source,
)
from mstv.data.shards import npy_bytes, read_npy, read_samples, write_shard
from mstv.data.video import cut_video, encode_video
from tests.data_tools.conftest import moving_frames, tiny_episode
from tests.data_tools.latent_set import tiny_latents
from tests.data_tools.walks import shifted, walk

TAR = "train-000000.tar"
Samples = dict[str, dict[str, bytes]]


@pytest.fixture
def shards(raw: Path, tmp_path: Path) -> Path:
    worlds = {"train": ("a", "b"), "validation": ("c",), "test": ("d",)}
    make_shards(raw, tmp_path / "shards", Sharding(16, 2, splitting=Splitting(worlds=worlds)), workers=1)
    return tmp_path / "shards"


def rewrite(folder: Path, name: str, change: Callable[[Samples], None]) -> None:
    """Change samples of a tar, and make the manifest agree with the tar's bytes, so that only a close look finds it."""
    samples = dict(read_samples(folder / name))
    change(samples)
    num_samples, num_bytes, sha256 = write_shard(folder / name, samples.items())
    manifest = Manifest.read(folder / MANIFEST)
    update = {"num_samples": num_samples, "num_bytes": num_bytes, "sha256": sha256}
    fresh = tuple(shard.model_copy(update=update) if shard.name == name else shard for shard in manifest.shards)
    manifest.model_copy(update={"shards": fresh}).write(folder / MANIFEST)


def problems(folder: Path, **options: bool) -> str:
    return "\n".join(verify(folder, workers=1, **options).problems)


def test_a_sound_set_passes(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(shards), "--workers", "2"]) == 0
    assert "sound; 4 tars of frames, 163 frames" in capsys.readouterr().out
    assert main(["verify", str(shards), "--workers", "1", "--fast"]) == 0


def test_missing_unexpected_and_changed_tars(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shards / "test-000000.tar").unlink()
    shutil.copy(shards / TAR, shards / "train-000009.tar")
    data = bytearray((shards / TAR).read_bytes())
    data[-1] = 1
    (shards / TAR).write_bytes(data)
    path = shards / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:2000])
    assert main(["verify", str(shards), "--workers", "1"]) == 2
    told = capsys.readouterr().out
    for problem in (
        "test-000000.tar: is missing",
        "train-000009.tar: is in the folder but not in manifest.json",
        f"{TAR}: field sha256 is",
        "train-000001.tar: member walk-2-00000.",
    ):
        assert problem in told


def put(sample: str, extension: str, data: bytes) -> Callable[[Samples], None]:
    return lambda samples: samples[sample].__setitem__(extension, data)


def _other_video(frames: int, folder: Path) -> bytes:
    encode_video(moving_frames(frames, seed=77), folder / "other.mp4", 20.0)
    return cut_video(folder / "other.mp4", 16)[0]


def _changed_record(samples: Samples, sample: str, **update: object) -> None:
    chunk = Chunk.parse(samples[sample]["json"], sample)
    samples[sample]["json"] = chunk.model_copy(update=update).to_bytes()


def test_other_frames_are_found_only_by_decoding(shards: Path, tmp_path: Path) -> None:
    rewrite(shards, TAR, put("walk-0-00001", "mp4", _other_video(16, tmp_path)))
    told = problems(shards)
    assert "walk-0-00001.mp4: field checksums.frames" in told and "walk-0: field checksums.frames" in told
    assert problems(shards, decode=False) == ""


def test_a_wrong_number_of_frames(shards: Path, tmp_path: Path) -> None:
    rewrite(shards, TAR, put("walk-0-00001", "mp4", _other_video(15, tmp_path)))
    assert "walk-0-00001.mp4: field num_frames is 16, found 15" in problems(shards)


def test_a_video_that_does_not_decode(shards: Path) -> None:
    rewrite(shards, TAR, put("walk-0-00001", "mp4", b"no video"))
    assert "walk-0-00001.mp4: not a readable video" in problems(shards)


def test_changed_actions_and_poses(shards: Path) -> None:
    def change(samples: Samples) -> None:
        actions = read_npy(samples["walk-0-00000"]["actions.npy"], "x")
        samples["walk-0-00000"]["actions.npy"] = npy_bytes(np.roll(actions, 1))
        samples["walk-0-00001"]["actions.npy"] = npy_bytes(np.full(16, 9, np.int16))
        samples["walk-0-00002"]["poses.npy"] = npy_bytes(np.zeros((8, 4), np.float32))
        samples["walk-1-00000"]["poses.npy"] = b"junk"

    rewrite(shards, TAR, change)
    told = problems(shards, decode=False)
    assert "walk-0-00000.actions.npy: field checksums.actions is" in told
    assert "walk-0-00001.actions.npy: action ids must lie in -1..2" in told
    assert "walk-0-00002.poses.npy: field shape is" in told
    assert "walk-1-00000.poses.npy: not a readable npy" in told


def test_missing_members_and_missing_chunks(shards: Path) -> None:
    def change(samples: Samples) -> None:
        del samples["walk-1-00001"]["poses.npy"]
        del samples["walk-1-00002"]["json"]
        del samples["walk-0-00001"]

    rewrite(shards, TAR, change)
    told = problems(shards, decode=False)
    assert "walk-1-00001: members missing: ['poses.npy']" in told
    assert "walk-1-00002: member json is missing" in told
    assert "walk-0-00002: field chunk is" in told
    assert "walk-0: field num_frames is 40, found 24" in told


def test_chunks_out_of_order(shards: Path) -> None:
    def change(samples: Samples) -> None:
        samples["walk-0-00000"], samples["walk-0-00001"] = samples["walk-0-00001"], samples["walk-0-00000"]

    rewrite(shards, TAR, change)
    told = problems(shards, decode=False)
    assert "walk-0-00000: field first_frame" in told and "walk-0-00001: field key" in told


def test_leaking_worlds(shards: Path) -> None:
    """A world in two splits is found by the records, even if the manifest hides it."""

    def change(samples: Samples) -> None:
        for name in samples:
            episode = Chunk.parse(samples[name]["json"], name).episode
            source = episode.source.model_copy(update={"world": "a"})
            _changed_record(samples, name, episode=episode.model_copy(update={"source": source}))

    rewrite(shards, "test-000000.tar", change)
    told = problems(shards, decode=False)
    assert "world a is in test and in train: splits leak" in told
    assert "test-000000.tar: field worlds is ('d',), found ('a',)" in told


def test_records_that_disagree_with_the_manifest(shards: Path) -> None:
    def change(samples: Samples) -> None:
        episode = Chunk.parse(samples["walk-2-00000"]["json"], "x").episode
        _changed_record(samples, "walk-2-00000", episode=episode.model_copy(update={"fps": 5.0, "height": 16}))

    rewrite(shards, "train-000001.tar", change)
    told = problems(shards, decode=False)
    assert "walk-2-00000: field fps is 5.0, but 20.0 in manifest.json" in told
    assert "walk-2-00000: field image_size is (16, 48), but (32, 48) in manifest.json" in told


def test_unsafe_members(shards: Path) -> None:
    with tarfile.open(shards / TAR, "w") as tar:
        tar.addfile(tarfile.TarInfo("../evil.json"), io.BytesIO())
    assert "'../evil.json' is refused" in problems(shards)


def test_folders_that_hold_no_set(tmp_path: Path, shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["verify", str(tmp_path)]) == 2
    assert "holds no manifest.json and no raw episode" in capsys.readouterr().err
    path = shards / MANIFEST
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2', 1))
    assert main(["verify", str(shards)]) == 2
    assert "field schema_version is 2" in capsys.readouterr().err


def walks(folder: Path, shifts: tuple[int, ...], kind: str = "discrete") -> Path:
    """Raw episodes of drawn walks, with actions so many frames late."""
    for number, shift in enumerate(shifts):
        frames, actions, spec = walk(kind, 240, number)
        source = Source(engine="test", world="abcd"[number])
        write_episode(folder, f"walk-{number}", frames, 20.0, source, shifted(actions, shift), spec=spec)
    return folder


@pytest.mark.parametrize("kind", ["discrete", "vector"])
def test_late_actions_are_warned_of(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = walks(tmp_path / "raw", (1, 1, 0, 1), kind)
    worlds = {"train": ("a", "b"), "validation": ("c",), "test": ("d",)}
    make_shards(raw, tmp_path / "shards", Sharding(16, 2, splitting=Splitting(worlds=worlds)), workers=1)
    for folder in (raw, tmp_path / "shards"):
        assert main(["verify", str(folder), "--workers", "1", "--episodes"]) == 0
        told = capsys.readouterr().out
        late = "actions look 1 frame late (best shift +1 in 3 of 4 episodes with motion: walk-0, walk-1, walk-3)"
        assert f"warning: {folder}: {late}" in told
        assert "walk-2: 240 frames, best shift +0, confidence" in told
        assert f"{folder}: sound, 1 warning; " in told
        assert "960 frames; actions at their frames in 1 of 4 episodes with motion" in told
        assert main(["verify", str(folder), "--workers", "2", "--strict"]) == 2
        assert late in capsys.readouterr().out
        assert main(["verify", str(folder), "--workers", "1", "--strict", "--fast"]) == 0


def test_right_actions_and_damaged_chunks_are_not_warned_of(tmp_path: Path) -> None:
    raw = walks(tmp_path / "raw", (0, 0, 0))
    worlds = {"train": ("a",), "validation": ("b",), "test": ("c",)}
    folder = tmp_path / "shards"
    make_shards(raw, folder, Sharding(16, splitting=Splitting(worlds=worlds)), workers=1)
    assert verify(folder, workers=1).warnings == verify(raw, workers=1).warnings == []

    def change(samples: Samples) -> None:
        del samples["walk-0-00003"]

    rewrite(folder, TAR, change)  # the frames after it stand 16 rows off
    found = verify(folder, workers=1)
    assert found.problems and found.warnings == []
    assert [reading.key for reading in found.readings] == ["walk-1", "walk-2"]


def test_black_and_frozen_videos_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, actions, spec = walk("discrete", 120, 0)
    frozen = frames.copy()
    frozen[40:90] = frozen[40]
    for number, video in enumerate((frames, frozen, frames * 0)):
        source = Source(engine="test", world=f"w{number}")
        write_episode(tmp_path / "raw", f"walk-{number}", video, 20.0, source, actions, spec=spec)
    assert main(["verify", str(tmp_path / "raw"), "--workers", "1"]) == 0
    told = capsys.readouterr().out
    # The encoder settles for a frame or two after the picture stops.
    assert re.search(
        r"raw: walk-1: (39|40|41) % of its 120 frames are frozen, though the action changes: frames 4", told
    )
    assert "raw: walk-2: 100 % of its 120 frames are black: frames 0..119" in told
    assert "sound, 2 warnings; 3 raw episodes, 360 frames" in told


def test_sound_raw_episodes_pass(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(raw), "--workers", "2"]) == 0
    assert f"{raw}: sound; 5 raw episodes, 163 frames" in capsys.readouterr().out
    (raw / "walk-1.json").unlink()
    assert main(["verify", str(raw), "--workers", "1"]) == 0
    assert "walk-1.mp4: has no record (walk-1.json)" in capsys.readouterr().out


def test_damaged_raw_episodes(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (raw / "walk-0.mp4").write_bytes((raw / "walk-0.mp4").read_bytes()[:900])
    encode_video(moving_frames(33, seed=5), raw / "walk-1.mp4", 20.0)
    (raw / "walk-2.actions.npy").write_bytes(npy_bytes(np.zeros(16, np.int16)))
    (raw / "walk-2.poses.npy").unlink()
    (raw / "walk-3.json").write_text("{")
    episode = Episode.read(raw / "walk-4.json")
    episode.model_copy(update={"num_frames": 49}).write(raw / "walk-4.json")
    tiny_episode(raw, "walk-5", "e", 16, fps=10.0)
    (raw / "walk-6.json").write_bytes((raw / "walk-5.json").read_bytes())
    assert main(["verify", str(raw), "--workers", "1"]) == 2
    told = capsys.readouterr().out
    for problem in (
        "walk-0.mp4: ",
        "walk-1.mp4: field checksums.frames is",
        "walk-2.actions.npy: field checksums.actions is",
        "walk-2.poses.npy: cannot be read",
        "walk-3.json: not valid JSON",
        "walk-4.actions.npy: actions are int16 (50,), expected int16 (49,)",
        "walk-4.mp4: field num_frames is 49, found 50",
        "walk-5.json: field fps is 10.0, that of walk-0 is 20.0",
        "walk-6.json: field key is walk-6, found walk-5",
        "walk-6.mp4: cannot be read",
    ):
        assert problem in told, problem
    assert not [line for line in told.splitlines() if "walk-5.mp4" in line]


def test_text_that_cannot_be_printed(shards: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    rewrite(shards, TAR, put("walk-0-00000", "json", b'{"schema_version": "\\ud800"}'))
    assert main(["verify", str(shards), "--workers", "1"]) == 2
    assert b"walk-0-00000.json: field schema_version is \\ud800" in capfdbinary.readouterr().out


@pytest.fixture
def latents(shards: Path, tmp_path: Path) -> Path:
    return tiny_latents(shards, tmp_path / "latents")


def test_sound_latents_pass(latents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(latents), "--workers", "1"]) == 0
    assert "sound; 1 tars of latents, 50 frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extension", "array", "problem"),
    [
        ("level1.npy", np.zeros((50, 4, 5, 3), np.float16), "level1.npy: field shape is"),
        ("level0.npy", np.zeros((50, 8, 12, 3), np.float32), "level0.npy: field shape is"),
        ("level0.npy", np.zeros((49, 8, 12, 3), np.float16), "level0.npy: field shape is"),
        ("level0.npy", np.full((50, 8, 12, 3), np.inf, np.float16), "level0.npy: holds a NaN or an infinity"),
        ("level2.npy", np.zeros((50, 2, 3, 3), np.float16), "members too many: ['level2.npy']"),
        ("actions.npy", np.zeros(49, np.int16), "actions.npy: actions are int16 (49,)"),
    ],
)
def test_latents_that_do_not_fit(latents: Path, extension: str, array: np.ndarray, problem: str) -> None:
    rewrite(latents, "test-000000.tar", put("walk-4", extension, npy_bytes(array)))
    assert problem in problems(latents)


def test_the_tokenizer_beside_latents_is_checked(latents: Path) -> None:
    (latents / TOKENIZER_COPY).write_bytes(b"other weights")
    assert "tokenizer.ckpt: field tokenizer.copy_sha256 is" in problems(latents)
    (latents / TOKENIZER_COPY).unlink()
    assert "tokenizer.ckpt: is missing" in problems(latents)
