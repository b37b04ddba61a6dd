"""Frames of any video file: decoded, turned upright, cropped, resized, and resampled in time."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from data_tools.importers.source_file import DamagedError

_HD_ROWS = 720
"""From this height on, a video that does not name its colour matrix means BT.709, below it BT.601."""
_HIGHEST_RATE = 480
"""Frames a second; some writers of variable rates put the clock's rate, 1000 or 90000, in its place."""
_MISSING_SECONDS = 1.5
"""A video that ends so much before its announced end is cut short; Matroska shows it in no other way."""


class VideoFrames:
    """Frames of a video as an iterator of uint8 (H, W, 3) RGB; a context manager.

    Output frame k shows the source at k / fps seconds after its first frame, to the nearest source frame, so that
    frames of a variable rate come out evenly. The centre of the picture is cropped to the aspect of `size`.

    Args:
        path: any file that FFmpeg reads.
        size: (H, W) of the frames to give.
        fps: frames a second to give; None keeps the average rate of the source.
        every_frame: give each source frame once, whatever its time stamp, since rows of actions belong to frames;
            `fps` then only names the rate.

    Attributes:
        fps: frames a second that are given.

    Raises:
        DamagedError: no such file, not a video, or, while iterating, damaged.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float | None = None, every_frame: bool = False) -> None:
        self._path, self._size, self._every_frame = path, size, every_frame
        self._container, self._stream = _opened(path)
        self._stream.codec_context.thread_count = 1
        rate = Fraction(fps).limit_denominator(1001) if fps else self._stream.average_rate or self._stream.guessed_rate
        if not rate or rate > _HIGHEST_RATE:
            self._container.close()
            fix = "repair it, or use --skip-bad to go on without it" if every_frame else "give --fps"
            raise DamagedError(f"{path}: says that it has {rate or 'no'} frames a second: {fix}")
        self._rate = Fraction(rate)
        self.fps = float(rate)
        self._reformatter = VideoReformatter()

    def __enter__(self) -> Iterator[np.ndarray]:
        return map(self._converted, self._decoded()) if self._every_frame else self._resampled()

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def _decoded(self) -> Iterator[av.VideoFrame]:
        num_frames = 0
        seconds = 0.0
        try:
            for packet in self._container.demux(self._stream):
                if packet.is_corrupt:
                    raise ValueError(f"cut short after {num_frames} frames")
                for frame in packet.decode():
                    assert isinstance(frame, av.VideoFrame)
                    if frame.is_corrupt:
                        raise ValueError(f"frame {num_frames} is damaged")
                    num_frames += 1
                    seconds = max(seconds, frame.time or 0.0)
                    yield frame
            if self._promised_seconds() - seconds > _MISSING_SECONDS + 2 / float(self._stream.average_rate or 1):
                raise ValueError(f"cut short after {seconds:.1f} of {self._promised_seconds():.1f} s")
        except (av.FFmpegError, ValueError, OSError) as error:
            raise _unreadable(self._path, error) from None
        if num_frames == 0:
            raise DamagedError(f"{self._path}: holds no frames: remove it, or use --skip-bad to go on without it")

    def _promised_seconds(self) -> float:
        """Where the file says that it ends; 0 if it does not, or if something else, such as sound, may end there."""
        duration = self._container.duration if len(self._container.streams) == 1 else None
        return ((self._container.start_time or 0) + duration) / av.time_base if duration else 0.0

    def _resampled(self) -> Iterator[np.ndarray]:
        """Give the source frame nearest to each tick; only those frames are converted."""
        given = 0
        held: av.VideoFrame | None = None
        start = shown = end = Fraction(0)
        for frame in self._decoded():
            # Where a frame has no time stamp, it begins where the one before ends.
            shown = frame.pts * frame.time_base if frame.pts is not None and frame.time_base else end
            end = shown + ((frame.duration or 0) * frame.time_base if frame.time_base else 0)
            if held is None:
                start = shown
            tick = _nearest((shown - start) * self._rate)
            if held is not None and tick > given:
                picture = self._converted(held)
                for _ in range(tick - given):
                    yield picture
                given = tick
            held = frame
        if held is not None:
            # The last frame lasts as long as it says, and is given for the tick on which it begins in any case.
            ticks = max(_nearest((end - start) * self._rate), math.floor((shown - start) * self._rate) + 1)
            picture = self._converted(held)
            for _ in range(ticks - given):
                yield picture

    def _converted(self, frame: av.VideoFrame) -> np.ndarray:
        turns = round(frame.rotation / 90) % 4  # counterclockwise, as numpy turns
        height, width = self._size if turns % 2 == 0 else self._size[::-1]
        aspect = frame.width * float(self._stream.sample_aspect_ratio or 1) / frame.height
        # The whole frame is scaled so that it just covers the target, then its centre is cut out.
        rows, columns = max(height, round(width / aspect)), max(width, round(height * aspect))
        shrinks = rows <= frame.height and columns <= frame.width
        unnamed = frame.colorspace not in (Colorspace.ITU709, Colorspace.ITU601, Colorspace.SMPTE240M, 9, 6)
        matrix = Colorspace.ITU709 if unnamed and frame.height >= _HD_ROWS else None
        scaled = self._reformatter.reformat(
            frame,
            width=columns,
            height=rows,
            format="rgb24",
            src_colorspace=matrix,
            interpolation=Interpolation.AREA if shrinks else Interpolation.BICUBIC,
            threads=1,
        ).to_ndarray()
        top, left = (rows - height) // 2, (columns - width) // 2
        return np.ascontiguousarray(np.rot90(scaled[top : top + height, left : left + width], turns))


def count_frames(path: Path) -> int:
    """Number of frames by the file's packets, without decoding them.

    Raises:
        DamagedError: no such file, or not a video.
    """
    container, stream = _opened(path)
    with container:
        try:
            return sum(1 for packet in container.demux(stream) if packet.size)
        except (av.FFmpegError, ValueError, OSError) as error:
            raise _unreadable(path, error) from None


def _opened(path: Path) -> tuple[InputContainer, av.VideoStream]:
    try:
        if not path.stat().st_size:
            raise DamagedError(f"{path}: holds no bytes: remove it, or use --skip-bad to go on without it")
        container = av.open(str(path), "r")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise _unreadable(path, error) from None
    # A stream of a codec that FFmpeg does not know has no decoder.
    if not container.streams.video or container.streams.video[0].codec_context is None:
        container.close()
        raise DamagedError(
            f"{path}: holds no video stream that can be decoded: remove it, or use --skip-bad to go on without it"
        )
    return container, container.streams.video[0]


def _unreadable(path: Path, error: Exception) -> DamagedError:
    reason = str(error).split("\n", 1)[0]
    return DamagedError(
        f"{path}: not a readable video ({reason}): remove or repair it, or use --skip-bad to go on without it"
    )


def _nearest(position: Fraction) -> int:
    return math.floor(position + Fraction(1, 2))
