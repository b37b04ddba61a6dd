"""Random frames: those of the whole video, decoded no further than need be, and no damage that ends the process."""

import io
import platform
from pathlib import Path

import av
import numpy as np
import pytest

from mstv.data.schema import GOP_FRAMES
from mstv.data.video import decode_frames, decode_video, encode_video, frames_sha256
from mstv.errors import UserError

NUM_FRAMES = 45


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Frames of 32x48 that slide sideways; the last group of pictures is not full."""
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    picture = np.random.default_rng(0).integers(0, 256, (8, 30, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    encode_video((picture[:, t : t + 48] for t in range(NUM_FRAMES)), path, 29.97)
    return path.read_bytes()


# x264 left to itself makes 317c... of it with AVX-512, 088f... with AVX2 and 379b... with SSE2.
ZOOM = "088f9cf2dbf7baf1f7d1adf1e7af313bd45d3c35a01f6a28fbaaa833f3f613c9"


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="frozen on x86")
def test_the_frames_are_the_frozen_ones_on_any_cpu(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    at = np.arange(32)
    zoom = (picture[np.ix_((at // (2 + t % 7) + t) % 40, at // (2 + t % 7) % 40)] for t in range(96))
    encode_video(zoom, tmp_path / "v.mp4", 20)
    assert frames_sha256(tmp_path / "v.mp4")[0] == ZOOM


def test_any_frames_are_those_of_the_whole(video: bytes) -> None:
    whole = decode_video(video)
    rng = np.random.default_rng(0)
    for count in (1, 2, 5, 16, NUM_FRAMES):
        for _ in range(10):
            indices = rng.permutation(NUM_FRAMES)[:count]
            assert np.array_equal(decode_frames(video, indices), whole[indices])
    for bad in ([-1], [0, NUM_FRAMES]):
        with pytest.raises(IndexError, match=rf"frames .* of {NUM_FRAMES}"):
            decode_frames(video, bad)


def test_a_group_is_decoded_up_to_the_last_frame_wanted(video: bytes) -> None:
    with av.open(io.BytesIO(video)) as container:
        last = container.streams.video[0].index_entries[3 * GOP_FRAMES - 1]
        position, size = last.pos, last.size
    whole, damaged = decode_video(video), bytearray(video)
    damaged[position : position + size] = bytes(size)
    indices = [0, 3 * GOP_FRAMES - 2, 3 * GOP_FRAMES]
    assert np.array_equal(decode_frames(bytes(damaged), indices), whole[indices])
    with pytest.raises(UserError, match=r"not a readable video|is damaged|not all of its frames"):
        decode_frames(bytes(damaged), [3 * GOP_FRAMES - 1])


def test_damage_is_a_user_error(video: bytes) -> None:
    for bad in (b"", b"junk" * 100, video[:40], video[: len(video) // 2], video[:-600]):
        with pytest.raises(UserError):
            decode_frames(bad, [0])
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(video)
        for place in rng.integers(len(video), size=rng.integers(1, 9)):
            damaged[place] = rng.integers(256)
        try:
            frames = decode_frames(bytes(damaged), [0, 9, NUM_FRAMES - 1], Path("v.mp4"))
        except UserError as error:
            assert str(error).startswith("v.mp4: ") and "\n" not in str(error)
            refused += 1
        except IndexError as error:  # a table that was made shorter
            assert str(error).startswith("v.mp4: frames 0..44 of ")
        else:
            assert frames.dtype == np.uint8 and len(frames) == 3
    assert refused > 20
