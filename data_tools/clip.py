"""The first frames of an episode as one mp4, put together from its chunks without encoding anything again."""

import io
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av

from mstv.errors import UserError


def join_clip(videos: Iterable[bytes], num_frames: int, where: str | Path) -> bytes:
    """Join mp4s of ours, one after the other, and end after `num_frames` frames; every pixel stays as it is.

    Ours have no B-frames, so a frame needs earlier ones alone, and an mp4 may end after any of them.

    Args:
        videos: of one size and frame rate, each starting with a keyframe; as many are taken as needed.
        num_frames: >= 1.
        where: names the episode in errors.

    Returns:
        An mp4 whose frame t is shown at t / fps.

    Raises:
        UserError: a video is damaged or was not written by us, or they hold fewer frames.
    """
    buffer = io.BytesIO()
    count = 0
    try:
        with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as output:
            stream: av.VideoStream | None = None
            for data in videos:
                with av.open(io.BytesIO(data), "r") as container:
                    source = container.streams.video[0]
                    stream = stream or output.add_stream_from_template(source)
                    step = _step(source, where)
                    for packet in container.demux(source):
                        if not packet.size or count >= num_frames:
                            continue
                        if packet.pts is None or packet.pts != packet.dts:
                            raise UserError(f"{where}: its video has B-frames: import it, so that it is encoded anew")
                        packet.pts = packet.dts = count * step
                        packet.duration = step
                        packet.stream = stream
                        output.mux(packet)
                        count += 1
                if count >= num_frames:
                    break
    except (av.FFmpegError, ValueError, IndexError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(f"{where}: its video cannot be read ({reason}): it is damaged, make it again") from None
    if count < num_frames:
        raise UserError(f"{where}: its video holds {count} frames where {num_frames} should be: make it again")
    return buffer.getvalue()


def _step(stream: av.VideoStream, where: str | Path) -> int:
    """Ticks of the stream's clock from frame to frame."""
    if stream.average_rate is None or stream.time_base is None:
        raise UserError(f"{where}: its video names no frame rate: make it again")
    return round(1 / (Fraction(stream.average_rate) * stream.time_base))
