"""`mstv-data import videos`: geometry, time, segments, resuming and damaged files."""

import io
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from data_tools.cli import main
from data_tools.episode import RawEpisodes
from data_tools.importers import importing
from data_tools.importers.recording import recording_key
from data_tools.importers.video_frames import VideoFrames
from mstv.data.video import decode_video
from mstv.errors import UserError


def write_video(
    path: Path,
    frames: np.ndarray,
    times: list[Fraction] | None = None,
    rate: int = 20,
    codec: str = "libx264",
    turned: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Write uint8 (T, H, W, 3) with B-frames and long GOPs, as others do; `times` in seconds makes the rate vary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "4"}
        if turned:
            stream.set_display_rotation(turned)
        base = Fraction(1, 1000) if times else Fraction(1, rate)
        stream.codec_context.time_base = base
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = base
            frame.pts = round((times[number] if times else Fraction(number, rate)) / base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def grey(levels: list[int], height: int = 48, width: int = 64) -> np.ndarray:
    return np.stack([np.full((height, width, 3), level, np.uint8) for level in levels])


def levels_of(frames: np.ndarray) -> list[int]:
    return [round(float(frame.mean())) for frame in frames]


STAIRS = [20 + 4 * number for number in range(50)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two videos of 50 and 20 frames, one in a folder below."""
    write_video(tmp_path / "in" / "one.mp4", grey(STAIRS))
    write_video(tmp_path / "in" / "deep" / "two b.mkv", grey(STAIRS[:20]))
    return tmp_path / "in"


def run(source: Path, out: Path, *options: str) -> int:
    return main(["import", "videos", str(source), str(out), "--size", "32", "--workers", "1", *options])


def test_import_keeps_every_frame(source: Path, tmp_path: Path) -> None:
    assert run(source, tmp_path / "raw", "--min-frames", "20") == 0
    raw = RawEpisodes(tmp_path / "raw")
    assert {key: record.num_frames for key, record in raw.records.items()} == {"deep-two-b-0000": 20, "one-0000": 50}
    assert np.abs(np.array(levels_of(decode_video(raw.video("one-0000")))) - STAIRS).max() <= 2
    record = raw.records["one-0000"]
    assert (record.fps, record.height, record.width, record.actions.kind) == (20, 32, 32, "none")
    assert (record.source.engine, record.source.world, record.source.file) == ("videos", "one", "one.mp4")


def test_segments_share_a_world_and_join_to_the_video(source: Path, tmp_path: Path) -> None:
    assert run(source, tmp_path / "raw", "--segment-frames", "16", "--min-frames", "2") == 0
    raw = RawEpisodes(tmp_path / "raw")
    keys = [f"one-{number:04d}" for number in range(4)]
    assert [raw.records[key].num_frames for key in keys] == [16, 16, 16, 2]
    assert [raw.records[key].source.first_frame for key in keys] == [0, 16, 32, 48]
    assert {raw.records[key].source.world for key in keys} == {"one"}
    joined = np.concatenate([decode_video(raw.video(key)) for key in keys])
    assert np.abs(np.array(levels_of(joined)) - STAIRS).max() <= 2


def test_a_short_tail_is_dropped_and_said(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(source, tmp_path / "raw", "--segment-frames", "24", "--min-frames", "8") == 0
    raw = RawEpisodes(tmp_path / "raw")
    assert [key for key in raw.records if key.startswith("one")] == ["one-0000", "one-0001"]
    assert "one.mp4: the last 2 frames were dropped" in capsys.readouterr().out
    assert run(source, tmp_path / "other") == 0
    assert "deep/two b.mkv: all 20 frames were dropped" in capsys.readouterr().out


@pytest.mark.parametrize(("fps", "expected"), [(10.0, STAIRS[::2]), (40.0, [x for x in STAIRS for _ in range(2)])])
def test_resampling(tmp_path: Path, fps: float, expected: list[int]) -> None:
    path = write_video(tmp_path / "v.mp4", grey(STAIRS))
    with VideoFrames(path, (32, 32), fps) as frames:
        found = levels_of(np.stack(list(frames)))
    assert abs(len(found) - len(expected)) <= 1
    # The nearest frame is at most half a source frame, 4 grey levels, away.
    assert max(abs(a - b) for a, b in zip(found, expected, strict=False)) <= 6


def test_a_varying_rate_comes_out_evenly(tmp_path: Path) -> None:
    """Frames at 0, .1, .2, then a still of .5 s, then .7 and .8 s."""
    times = [Fraction(tenth, 10) for tenth in (0, 1, 2, 7, 8)]
    path = write_video(tmp_path / "v.mkv", grey([40, 80, 120, 160, 200]), times)
    with VideoFrames(path, (32, 32), 10.0) as frames:
        found = levels_of(np.stack(list(frames)))
    expected = [40, 80, 120, 120, 120, 120, 120, 160, 200]
    assert len(found) >= len(expected)
    assert max(abs(a - b) for a, b in zip(found, expected, strict=False)) <= 2


def test_a_clock_in_place_of_a_rate_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", grey(STAIRS), [Fraction(n, 20) for n in range(50)], codec="mpeg4")
    with pytest.raises(UserError, match="1000 frames a second: give --fps"):
        VideoFrames(path, (32, 32))
    with VideoFrames(path, (32, 32), 20.0) as frames:
        assert sum(1 for _ in frames) == 50


@pytest.mark.parametrize(("size", "shape"), [((32, 32), (32, 32)), ((16, 64), (16, 64)), ((96, 48), (96, 48))])
def test_the_centre_is_cropped_without_stretching(
    tmp_path: Path, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    """A disc in the middle stays round."""
    rows, columns = np.mgrid[:120, :200]
    disc = ((rows - 59.5) ** 2 + (columns - 99.5) ** 2 < 20**2)[..., None] * np.full(3, 255, np.uint8)
    path = write_video(tmp_path / "v.mp4", np.stack([disc.astype(np.uint8)] * 8))
    with VideoFrames(path, size) as frames:
        picture = next(frames)[..., 1] > 127
    assert picture.shape == shape
    if min(size) >= 32:
        assert abs(int(picture.any(0).sum()) - int(picture.any(1).sum())) <= 2
    centre = np.argwhere(picture).mean(0) - (np.array(shape) - 1) / 2
    assert np.abs(centre).max() < 1


def test_a_rotated_phone_video_stands_upright(tmp_path: Path) -> None:
    """A mark in the stored picture's right upper corner, shown a quarter turn counterclockwise, is left above."""
    stored = np.zeros((8, 48, 64, 3), np.uint8)
    stored[:, :12, -16:] = 255
    path = write_video(tmp_path / "v.mp4", stored, turned=90)
    with VideoFrames(path, (64, 48)) as frames:
        picture = next(frames)[..., 1] > 127
    assert picture.shape == (64, 48)
    assert np.array_equal(np.argwhere(picture).mean(0).round() < (32, 24), [True, True])


def test_odd_sizes_and_other_codecs(tmp_path: Path) -> None:
    for name, codec in (("a.avi", "mpeg4"), ("b.webm", "libvpx-vp9"), ("c.mov", "libx264")):
        write_video(tmp_path / "in" / name, grey(STAIRS[:40], 50, 66), codec=codec)
    picture = np.full((40, 33, 51, 3), 90, np.uint8)
    with av.open(str(tmp_path / "in" / "odd.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=20)
        stream.height, stream.width, stream.pix_fmt = 33, 51, "yuv444p"
        for frame in picture:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    assert run(tmp_path / "in", tmp_path / "raw") == 0
    raw = RawEpisodes(tmp_path / "raw")
    assert [record.num_frames for record in raw.records.values()] == [40] * 4
    assert abs(decode_video(raw.video("odd-0000")).mean() - 90) < 2


def test_a_second_run_does_nothing_and_other_settings_are_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--min-frames", "8"]
    assert run(source, tmp_path / "raw", *options) == 0
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "raw").iterdir()}
    assert run(source, tmp_path / "raw", *options) == 0
    assert "imported 0 episodes (2 were there already)" in capsys.readouterr().out
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "raw").iterdir()}
    for changed, field in (
        (["--fps", "10"], "fps"),
        (["--segment-frames", "99"], "segment_frames"),
        (["--min-frames", "9"], "min_frames"),
    ):
        assert run(source, tmp_path / "raw", *options, *changed) == 2
        assert f"field source.settings.{field} is" in capsys.readouterr().err
    write_video(source / "one.mp4", grey(STAIRS[::-1]))
    assert run(source, tmp_path / "raw", *options) == 2
    assert "one-0000.json: field source.settings.file_bytes" in capsys.readouterr().err


def test_an_interrupted_import_resumes(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--segment-frames", "16", "--min-frames", "2"]
    assert run(source, tmp_path / "whole", *options) == 0
    original = importing.EpisodeWriter.add
    calls = 0

    def interrupted(self, frame, *row):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == 20 + 35:  # in the third segment of the second video
            raise KeyboardInterrupt
        original(self, frame, *row)

    with monkeypatch.context() as patch:
        patch.setattr(importing.EpisodeWriter, "add", interrupted)
        assert run(source, tmp_path / "raw", *options) == 130
    assert not (tmp_path / "raw" / "one-0000.json").exists()  # so that the video counts as unfinished
    kept = (tmp_path / "raw" / "one-0001.mp4").stat().st_mtime_ns
    assert run(source, tmp_path / "raw", *options) == 0
    assert (tmp_path / "raw" / "one-0001.mp4").stat().st_mtime_ns == kept
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "raw").iterdir())
    for name in names:
        assert (tmp_path / "raw" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def damaged(tmp_path: Path) -> dict[str, bytes]:
    """Damaged videos by name."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8)
    whole = write_video(tmp_path / "good.mp4", noise, options={"movflags": "faststart"}).read_bytes()
    matroska = write_video(tmp_path / "good.mkv", noise).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2 : len(whole) // 2 + 20000] = bytes(20000)
    return {
        "zero.mp4": b"",
        "text.mp4": b"this is no video " * 50,
        "cut.mp4": whole[: len(whole) // 2],
        "headless.mp4": whole[200:],
        "flipped.mp4": bytes(flipped),
        "cut.mkv": matroska[: len(matroska) // 3],
    }


def test_damaged_videos_are_named_or_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = damaged(tmp_path / "good")
    for name, data in bad.items():
        folder = tmp_path / name
        write_video(folder / "fine.mp4", grey(STAIRS))
        (folder / name).write_bytes(data)
        stem = Path(name).stem
        assert run(folder, tmp_path / "raw" / name, "--segment-frames", "8", "--min-frames", "2") == 2
        told = capsys.readouterr().err
        assert f"{folder / name}: " in told and "--skip-bad" in told, name
        assert not list((tmp_path / "raw" / name).glob(f"{stem}-*"))
        assert run(folder, tmp_path / "raw" / name, "--segment-frames", "8", "--min-frames", "2", "--skip-bad") == 0
        assert f"left out: {folder / name}" in capsys.readouterr().out
        assert {record.source.world for record in RawEpisodes(tmp_path / "raw" / name).records.values()} == {"fine"}


def test_folders_that_cannot_be_imported(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for folder, out, problem in (
        (tmp_path / "absent", tmp_path / "raw", "absent: no such folder"),
        (tmp_path / "empty", tmp_path / "raw", "empty: holds no video"),
        (source, source, "is the folder of the recordings"),
        (source, tmp_path / "file", "choose another output folder"),
        (source, Path("/proc/mstv"), "choose another output folder"),
    ):
        assert run(folder, out) == 2
        assert problem in capsys.readouterr().err
    shutil.copy(source / "one.mp4", source / "one.mov")
    assert run(source, tmp_path / "raw") == 2
    assert "its name gives the same key as" in capsys.readouterr().err


def test_output_below_the_source_is_not_imported(source: Path) -> None:
    assert run(source, source / "raw", "--min-frames", "8") == 0
    before = sorted(path.name for path in (source / "raw").iterdir())
    assert run(source, source / "raw", "--min-frames", "8") == 0
    assert sorted(path.name for path in (source / "raw").iterdir()) == before


def test_long_names_still_make_files() -> None:
    name = Path("a" * 100) / ("b" * 100 + ".mp4")
    assert len(recording_key(name)) == 120
    assert recording_key(name) != recording_key(Path("a" * 100) / ("b" * 101 + ".mp4"))


def test_sound_and_pictures_beside_the_video_do_no_harm(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        video, sound = container.add_stream("libx264", rate=20), container.add_stream("pcm_s16le", rate=8000)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * 9), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
        for picture in grey(STAIRS):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    (tmp_path / "v.mkv").write_bytes(buffer.getvalue())
    with VideoFrames(tmp_path / "v.mkv", (32, 32)) as frames:
        assert sum(1 for _ in frames) == 50
