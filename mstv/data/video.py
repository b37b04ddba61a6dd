"""H.264 video as the contract wants it: closed groups of `GOP_FRAMES` pictures, decoded fast, cut without loss."""

import hashlib
import io
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from mstv.data.schema import GOP_FRAMES
from mstv.errors import UserError

CRF = 18
"""Default constant rate factor of x264 (0 lossless, 51 worst); 18 looks lossless at a tenth of its size."""
# x264 decides otherwise with AVX-512 than with AVX2, and otherwise again without; every x86 CPU that numpy runs on has
# SSSE3. It costs 6 % of encoding at 128x128.
_SAME_ON_EVERY_CPU = ":asm=ssse3" if platform.machine().lower() in ("x86_64", "amd64") else ""
_X264 = f"keyint={GOP_FRAMES}:min-keyint={GOP_FRAMES}:scenecut=0:bframes=0:open-gop=0:threads=1{_SAME_ON_EVERY_CPU}"
_MP4 = {"fflags": "+bitexact"}  # keeps the muxer's own version out of the file
_MAX_DENOMINATOR = 1001  # of a frame rate; holds 30000/1001 exactly


class VideoWriter:
    """Encodes frames as they come; a context manager that closes the file, readable only if it ends without error.

    Args:
        path: mp4 file to write; the caller renames it into place.
        fps: frames a second, > 0.
        crf: constant rate factor, 0 (lossless) to 51.
        where: names the video in errors; by default the path.

    Attributes:
        num_frames: frames written.
        size: (H, W) of the frames; None before the first.
    """

    def __init__(self, path: Path, fps: int | float, crf: int = CRF, where: str | Path | None = None) -> None:
        self.num_frames = 0
        self.size: tuple[int, int] | None = None
        self._where = where or path
        rate = Fraction(fps).limit_denominator(_MAX_DENOMINATOR)
        self._container = av.open(str(path), "w", format="mp4", options=_MP4)
        options = {"crf": str(crf), "preset": "medium", "x264-params": _X264}
        self._stream = self._container.add_stream("libx264", rate=rate, options=options)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.thread_count = 1
        self._time_base = 1 / rate

    def write(self, frame: np.ndarray) -> None:
        """Encode one frame, uint8 (H, W, 3) RGB.

        Raises:
            UserError: a size that is odd or differs from the frames before.
            ValueError: not uint8 (H, W, 3).
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"a frame must be uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
        height, width = frame.shape[:2]
        if self.size is None:
            if height % 2 or width % 2:
                raise UserError(f"{self._where}: frames are {height}x{width}: choose an even height and width")
            self.size = height, width
            self._stream.height, self._stream.width = height, width
        elif self.size != (height, width):
            first = f"{self.size[0]}x{self.size[1]}"
            raise UserError(f"{self._where}: frame {self.num_frames} is {height}x{width}, the first is {first}")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = self.num_frames, self._time_base
        self._container.mux(self._stream.encode(picture))
        self.num_frames += 1

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.num_frames:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()
        if kind is None and not self.num_frames:
            raise UserError(f"{self._where}: no frames to write")


def encode_video(frames: Iterable[np.ndarray], path: Path, fps: int | float, crf: int = CRF) -> int:
    """Write frames as mp4, the same bytes each time; return their number.

    Args:
        frames: uint8 (H, W, 3) RGB each, H and W even.
        path: mp4 file to write; not atomic, wrap it in `atomic_path`.
        fps: frames a second, > 0.
        crf: constant rate factor, 0 (lossless) to 51.

    Raises:
        UserError: no frames, odd sizes, or sizes that differ.
    """
    with VideoWriter(path, fps, crf) as writer:
        for frame in frames:
            writer.write(frame)
    return writer.num_frames


def decode_frames(data: bytes, indices: Sequence[int] | np.ndarray, where: str | Path = "video") -> np.ndarray:
    """Decode some frames of an mp4 of ours, on one thread.

    Args:
        data: the mp4.
        indices: frame numbers in [0, T), in any order; they may repeat.
        where: names the video in errors.

    Returns:
        uint8 (len(indices), H, W, 3) RGB.

    Raises:
        UserError: the video is damaged or holds no frames.
        IndexError: an index outside [0, T).
    """
    return _pyav_frames(data, indices, where)


def decode_video(source: Path | bytes, where: str | Path = "video") -> np.ndarray:
    """All frames of an mp4 of ours, as `decode_frames` decodes them: uint8 (T, H, W, 3) RGB.

    Raises:
        UserError: the file cannot be read, is damaged or holds no frames.
    """
    data, where = _read(source, where)
    return _some_frames(data, range(_check_index(data, where)), where)


def frames_sha256(source: Path | bytes, where: str | Path = "video") -> tuple[str, int]:
    """Checksum of the decoded yuv420p planes (Y, U, V of each frame, without padding) and the number of frames.

    The H.264 standard fixes decoding bit for bit, so the checksum survives cutting and remuxing.

    Raises:
        UserError: the file cannot be read, is damaged or holds no frames.
    """
    digest = hashlib.sha256()
    num_frames = 0
    for planes in frame_planes(source, where):
        digest.update(planes)
        num_frames += 1
    return digest.hexdigest(), num_frames


def frame_planes(source: Path | bytes, where: str | Path = "video") -> Iterator[bytes]:
    """The decoded yuv420p planes of each frame in order: Y, U, V, without padding, H * W * 3 / 2 bytes.

    Raises:
        UserError: the file cannot be read, is damaged or holds no frames.
    """
    data, where = _read(source, where)
    num_packets = _check_index(data, where)
    num_frames = 0
    with _damage_named(where), av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            if frame.format.name != "yuv420p" or frame.is_corrupt:
                raise UserError(f"{where}: frame {num_frames} is damaged or not yuv420p: make the file again")
            yield frame.to_ndarray().tobytes()
            num_frames += 1
    if num_frames != num_packets:
        raise UserError(f"{where}: {num_frames} of {num_packets} frames decode: it is damaged, make it again")


def cut_video(source: Path | bytes, chunk_frames: int, where: str | Path = "video") -> list[bytes]:
    """Cut an mp4 of ours into mp4 chunks of `chunk_frames` frames (the last may be shorter), without re-encoding.

    Each chunk starts with a keyframe at time 0 and decodes to the same pixels as that slice of the whole.

    Raises:
        UserError: `chunk_frames` is not a multiple of GOP_FRAMES, or the video is damaged or not written by us.
    """
    if chunk_frames < 1 or chunk_frames % GOP_FRAMES:
        raise UserError(f"chunk_frames is {chunk_frames}: choose a multiple of {GOP_FRAMES} frames, the GOP")
    data, where = _read(source, where)
    num_frames = _check_index(data, where)
    chunks: list[bytes] = []
    with _damage_named(where), av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        if len(packets) != num_frames:
            raise UserError(f"{where}: {len(packets)} of {num_frames} frames can be read: it is damaged, make it again")
        for start in range(0, num_frames, chunk_frames):
            chunk = packets[start : start + chunk_frames]
            if not chunk[0].is_keyframe:
                raise UserError(f"{where}: frame {start} is no keyframe: import the video, so that it is encoded anew")
            chunks.append(_remux(chunk, stream))
    return chunks


def _remux(packets: list[av.Packet], template: av.VideoStream) -> bytes:
    """Put packets into an mp4 of their own that starts at time 0."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options=_MP4) as output:
        stream = output.add_stream_from_template(template)
        start = packets[0].dts
        for packet in packets:
            if packet.dts is None or packet.pts is None or start is None:
                raise UserError("a packet has no time stamp: the video is damaged, make it again")
            packet.dts, packet.pts = packet.dts - start, packet.pts - start
            packet.stream = stream
            output.mux(packet)
    return buffer.getvalue()


def _read(source: Path | bytes, where: str | Path) -> tuple[bytes, str | Path]:
    if isinstance(source, bytes):
        return source, where
    try:
        return source.read_bytes(), source
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror}): check the path") from None


@contextmanager
def _damage_named(where: str | Path) -> Iterator[None]:
    """Turn what PyAV raises on damaged data into a UserError that names the video."""
    try:
        yield
    except (av.FFmpegError, ValueError, IndexError, EOFError, OSError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(f"{where}: not a readable video ({reason}): it is damaged or empty, make it again") from None


def _check_index(data: bytes, where: str | Path) -> int:
    """Number of frames, once the mp4's own table of them is known to be sound; see `_keyframes`."""
    with _opened(data, where) as container:
        return len(_keyframes(container, data, where))


@contextmanager
def _opened(data: bytes, where: str | Path) -> Iterator[av.container.InputContainer]:
    """The mp4, open; what is wrong with it is told in one line."""
    if not data:
        raise UserError(f"{where}: holds no bytes: make it again")
    with _damage_named(where), av.open(io.BytesIO(data), "r") as container:
        if not container.streams.video:
            raise UserError(f"{where}: holds no video stream")
        if container.streams.video[0].codec_context is None:
            raise UserError(f"{where}: its video has an unknown codec: it is damaged, make it again")
        yield container


def _keyframes(container: av.container.InputContainer, data: bytes, where: str | Path) -> list[bool]:
    """Whether each frame is a keyframe, once the mp4's own table of the frames is known to be sound.

    decord dies of a segmentation fault on some damaged tables; all such files found by corrupting bytes at random
    fail here. It takes 0.6 ms for 64 frames of 64x64, a tenth of decoding sixteen of them.
    """
    stream = container.streams.video[0]
    entries = stream.index_entries
    if len(entries) == 0 or len(entries) != stream.frames:
        raise UserError(f"{where}: its index holds {len(entries)} of {stream.frames} frames: it is damaged or empty")
    if any(entry.pos < 0 or entry.pos + entry.size > len(data) for entry in entries):
        raise UserError(f"{where}: frames lie beyond its end: it is cut short, make it again")
    return [entry.is_keyframe for entry in entries]


def _some_frames(data: bytes, indices: Sequence[int], where: str | Path) -> np.ndarray:
    # decord is imported where it decodes, since recording and sharding never need it.
    import decord

    try:
        reader = decord.VideoReader(io.BytesIO(data), num_threads=1)
        return reader.get_batch(list(indices)).asnumpy()
    except (decord.DECORDError, RuntimeError):
        # decord 0.6 fails on sound frames of some widths (8, 12, 16, 24, 48, 72 pixels). PyAV gives the same pixels,
        # more slowly, and says what is wrong with damaged ones.
        return _pyav_frames(data, indices, where)


def _pyav_frames(data: bytes, indices: Sequence[int] | np.ndarray, where: str | Path) -> np.ndarray:
    """Some frames, of each closed group no more than up to the last that is wanted.

    For 16 random frames of 64 that is a third less than all groups, which decord decodes for them.
    """
    wanted = {int(index) for index in indices}
    found: dict[int, np.ndarray] = {}
    with _opened(data, where) as container:
        keyframes = _keyframes(container, data, where)
        inside = not wanted or (min(wanted) >= 0 and max(wanted) < len(keyframes))
        if inside:
            needed, following = [False] * len(keyframes), False
            for number in reversed(range(len(keyframes))):
                needed[number] = following or number in wanted
                following = needed[number] and not keyframes[number]
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            reformatter = VideoReformatter()
            numbers: dict[int | None, int] = {}  # of the frames by their times
            packets = (packet for packet in container.demux(stream) if packet.size)
            for number, packet in enumerate(packets):
                if needed[number]:
                    numbers[packet.pts] = number
                    _keep(stream.codec_context.decode(packet), numbers, wanted, found, reformatter, where)
            _keep(stream.codec_context.decode(None), numbers, wanted, found, reformatter, where)
    if not inside:
        raise IndexError(f"{where}: frames {min(wanted)}..{max(wanted)} of {len(keyframes)}")
    if len(found) < len(wanted):
        raise UserError(f"{where}: not all of its frames decode: it is damaged, make it again")
    return np.stack([found[int(index)] for index in indices])


def _keep(
    frames: Iterable[av.VideoFrame],
    numbers: dict[int | None, int],
    wanted: set[int],
    found: dict[int, np.ndarray],
    reformatter: VideoReformatter,
    where: str | Path,
) -> None:
    """Put the wanted ones of decoded frames into `found`, as uint8 (H, W, 3) RGB."""
    for frame in frames:
        number = numbers.get(frame.pts)
        if frame.is_corrupt:
            raise UserError(f"{where}: frame {number} is damaged: make the file again")
        if number in wanted:
            found[number] = reformatter.reformat(frame, format="rgb24").to_ndarray()
