"""Tars and videos: round trips, byte reproducibility, and every kind of damage."""

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest

from mstv.data.schema import GOP_FRAMES
from mstv.data.shards import index_members, npy_bytes, read_npy, read_samples, write_shard
from mstv.data.video import cut_video, decode_frames, decode_video, encode_video, frame_planes, frames_sha256
from mstv.errors import UserError

SAMPLES = [
    ("one-00000", {"mp4": b"video" * 300, "actions.npy": npy_bytes(np.arange(5)), "json": b"{}"}),
    ("one-00001", {"mp4": b"more", "json": b"{}"}),
    ("k" * 120, {"json": b""}),
]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty frames of 32x48 that slide sideways."""
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    picture = np.random.default_rng(0).integers(0, 256, (8, 30, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    assert encode_video((picture[:, t : t + 48] for t in range(50)), path, 20.0) == 50
    return path


def test_shard_round_trip_and_index(tmp_path: Path) -> None:
    path = tmp_path / "train-000000.tar"
    num_samples, num_bytes, sha256 = write_shard(path, SAMPLES)
    assert (num_samples, num_bytes) == (3, path.stat().st_size)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(read_samples(path)) == [(key, dict(sorted(members.items()))) for key, members in SAMPLES]
    data = path.read_bytes()
    for key, members in SAMPLES:
        for extension, (offset, size) in index_members(path)[key].items():
            assert data[offset : offset + size] == members[extension]


def test_webdataset_reads_the_same_samples(tmp_path: Path) -> None:
    import webdataset

    path = tmp_path / "train-000000.tar"
    write_shard(path, SAMPLES)
    with path.open("rb") as file:
        stream = webdataset.tariterators.tar_file_expander([{"url": str(path), "stream": file}])
        found = list(webdataset.tariterators.group_by_keys(stream))
    assert [sample["__key__"] for sample in found] == [key for key, _ in SAMPLES]
    assert found[0]["mp4"] == SAMPLES[0][1]["mp4"]


def test_tars_are_byte_reproducible(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_shard(tmp_path / name / "train-000000.tar", SAMPLES)
    a, b = (tmp_path / name / "train-000000.tar" for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()
    with tarfile.open(a) as tar:
        assert {(member.mtime, member.uname, member.uid) for member in tar} == {(0, "mstv", 0)}


def test_a_failed_shard_leaves_nothing(tmp_path: Path) -> None:
    def failing():  # type: ignore[no-untyped-def]
        yield SAMPLES[0]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "train-000000.tar", failing())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["a.b", "../a", "a/b", ""])
def test_unsafe_sample_keys_are_not_written(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="sample key"):
        write_shard(tmp_path / "t.tar", [(key, {"json": b""})])


def test_every_truncation_of_a_tar_is_told(tmp_path: Path) -> None:
    path, cut = tmp_path / "t.tar", tmp_path / "cut.tar"
    write_shard(path, SAMPLES)
    data = path.read_bytes()
    end = len(data.rstrip(b"\0"))  # cuts within the zeros that pad the end are harmless
    for length in [0, 100, 512, 600, 1024, *range(1500, end, 700)]:
        cut.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"cut\.tar"):
            index_members(cut)


def test_a_truncated_member_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    write_shard(path, SAMPLES)
    offset, size = index_members(path)["one-00000"]["mp4"]
    path.write_bytes(path.read_bytes()[: offset + size - 1])
    with pytest.raises(UserError, match=r"t\.tar: member one-00000\.mp4 is cut short"):
        list(read_samples(path))


def test_a_damaged_header_is_not_the_end_of_the_tar(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    write_shard(path, SAMPLES)
    data = bytearray(path.read_bytes())
    data[index_members(path)["one-00001"]["json"][0] - 500] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"damaged after one-00000"):
        index_members(path)


@pytest.mark.parametrize("name", ["../evil.json", "/etc/evil.json", "folder/a.json", "nodot", ".json"])
def test_members_that_leave_the_root_are_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        header = tarfile.TarInfo(name)
        header.size = 2
        tar.addfile(header, io.BytesIO(b"{}"))
    with pytest.raises(UserError, match="refused"):
        list(read_samples(tmp_path / "t.tar"))


def test_links_and_repeated_members_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("a.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "link.tar", "w") as tar:
        tar.addfile(link)
    with pytest.raises(UserError, match="refused"):
        index_members(tmp_path / "link.tar")
    with tarfile.open(tmp_path / "twice.tar", "w") as tar:
        for name in ("a.json", "a.json"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(UserError, match="stands twice"):
        index_members(tmp_path / "twice.tar")


def test_no_tar_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        index_members(tmp_path / "absent.tar")
    (tmp_path / "text.tar").write_bytes(b"hello" * 1000)
    with pytest.raises(UserError, match=r"text\.tar: not a readable tar"):
        index_members(tmp_path / "text.tar")


def test_npy_round_trip_and_refusals() -> None:
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    assert np.array_equal(read_npy(npy_bytes(array), "x"), array)
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    for data in (buffer.getvalue(), npy_bytes(array)[:-1], b"", b"junk" * 50):
        with pytest.raises(UserError, match="place: not a readable npy"):
            read_npy(data, "place")
    with pytest.raises(ValueError, match="Object"):
        npy_bytes(np.array([{}], dtype=object))


def test_video_is_deterministic_in_closed_groups(video: Path, tmp_path: Path) -> None:
    frames = decode_video(video)
    assert frames.shape == (50, 32, 48, 3)
    encode_video(frames, tmp_path / "a.mp4", 20.0)
    encode_video(frames, tmp_path / "b.mp4", 20.0)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    with av.open(str(video)) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
        assert float(container.streams.video[0].average_rate) == 20
    assert keys == [number % GOP_FRAMES == 0 for number in range(50)]


def test_chunks_decode_to_the_slices_of_the_whole(video: Path) -> None:
    whole, planes = decode_video(video), list(frame_planes(video))
    chunks = cut_video(video, 16)
    assert [len(decode_video(chunk)) for chunk in chunks] == [16, 16, 16, 2]
    for number, chunk in enumerate(chunks):
        assert np.array_equal(decode_video(chunk), whole[16 * number : 16 * number + 16])
        assert list(frame_planes(chunk)) == planes[16 * number : 16 * number + 16]
        with av.open(io.BytesIO(chunk)) as container:
            assert next(container.demux(video=0)).pts == 0
    assert frames_sha256(video) == (hashlib.sha256(b"".join(planes)).hexdigest(), 50)


def test_random_frames_are_those_of_the_whole(video: Path) -> None:
    indices = [31, 0, 49, 17, 17]
    assert np.array_equal(decode_frames(video.read_bytes(), indices), decode_video(video)[indices])
    with pytest.raises(IndexError, match=r"frames 0\.\.50 of 50"):
        decode_frames(video.read_bytes(), [0, 50])


@pytest.mark.parametrize("width", [16, 48, 62, 64])
def test_every_width_decodes(tmp_path: Path, width: int) -> None:
    """decord alone refuses some narrow frames."""
    frames = np.random.default_rng(0).integers(0, 256, (9, 4, width // 2, 3), np.uint8).repeat(4, 1).repeat(2, 2)
    encode_video(frames, tmp_path / "v.mp4", 20.0, crf=1)
    with av.open(str(tmp_path / "v.mp4")) as container:
        expected = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.array_equal(decode_video(tmp_path / "v.mp4"), expected)
    assert np.array_equal(decode_frames((tmp_path / "v.mp4").read_bytes(), [8, 3, 8]), expected[[8, 3, 8]])


def test_chunks_must_be_whole_groups(video: Path) -> None:
    for chunk_frames in (0, 12, -8):
        with pytest.raises(UserError, match="multiple of 8"):
            cut_video(video, chunk_frames)


def test_videos_that_cannot_be_written(tmp_path: Path) -> None:
    for frames, problem in (
        ([np.zeros((31, 48, 3), np.uint8)], "31x48"),
        ([], "no frames"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], "frame 1 is 4x6"),
    ):
        with pytest.raises(UserError, match=problem):
            encode_video(frames, tmp_path / "v.mp4", 20.0)


@pytest.mark.parametrize("read", [decode_video, frames_sha256, lambda data: cut_video(data, 8)])
def test_damaged_videos_are_user_errors(video: Path, read) -> None:  # type: ignore[no-untyped-def]
    data = video.read_bytes()
    for bad in (b"", b"junk" * 100, data[:40], data[: len(data) // 2], data[:-600]):
        with pytest.raises(UserError):
            read(bad)


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.mp4"):
        decode_video(tmp_path / "absent.mp4")


FUZZ = """
import random, sys
from mstv.data.video import decode_video
from mstv.errors import UserError
data = open(sys.argv[1], "rb").read()
table = data.index(b"moov")
for seed in range(60):
    chance, bad = random.Random(seed), bytearray(data)
    for _ in range(3):
        bad[chance.randrange(table, len(bad))] = chance.randrange(256)
    try:
        decode_video(bytes(bad))
    except UserError as error:
        assert "video" in str(error)
print("alive")
"""


def test_damaged_tables_never_kill_the_process(video: Path) -> None:
    """decord alone dies of a segmentation fault on some of these."""
    done = subprocess.run([sys.executable, "-c", FUZZ, str(video)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr


def test_importing_the_reader_does_not_import_torch() -> None:
    code = "import sys, mstv.data.shards, mstv.data.video; sys.exit('torch' in sys.modules or 'decord' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
