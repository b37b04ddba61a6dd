"""The videos of a rollout, written while it generates."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor

from mstv.cli.rollout_job import DECODED_AT_ONCE, RolloutJob, to_uint8
from mstv.data.schema import atomic_path
from mstv.data.shards import read_episode_chunks
from mstv.data.video import VideoWriter

ZOOMED_HEIGHT = 128
"""Sides of the side-by-side video are enlarged to at least so many pixels, by a whole factor."""


@contextmanager
def rollout_videos(job: RolloutJob, keys: Sequence[str]) -> Iterator["RolloutVideos"]:
    """Three videos of each episode: generated, recorded, and both beside each other (recorded left) for as long as the
    recording lasts. They take their names when all is written, and none does if anything goes wrong.

    Args:
        job: the rollout.
        keys: its episodes, in the order of the batch.
    """
    with ExitStack() as opened:
        videos = RolloutVideos(job, [_EpisodeVideos(job, key, opened) for key in keys])
        yield videos
        videos.write()


class RolloutVideos:
    """Decodes the latents of a batch of episodes as they come, many frames at once."""

    def __init__(self, job: RolloutJob, episodes: "list[_EpisodeVideos]") -> None:
        self._job = job
        self._episodes = episodes
        self._pending: list[Tensor] = []

    def add(self, latents: Tensor) -> None:
        """Take the next frames of every episode: level-0 latents (B, T, rows, columns, C)."""
        self._pending.append(latents)
        if len(self._episodes) * sum(part.shape[1] for part in self._pending) >= DECODED_AT_ONCE:
            self.write()

    def write(self) -> None:
        """Decode and write what has come."""
        if not self._pending:
            return
        latents = torch.cat(self._pending, 1)
        self._pending = []
        frames = to_uint8(self._job.decode(latents.flatten(0, 1)))
        for episode, part in zip(self._episodes, frames.reshape(*latents.shape[:2], *frames.shape[1:]), strict=True):
            episode.add(part)


class _EpisodeVideos:
    """The three videos of one episode."""

    def __init__(self, job: RolloutJob, key: str, opened: ExitStack) -> None:
        paths = [opened.enter_context(atomic_path(path)) for path in job.video_paths(key).values()]
        self._writers = [opened.enter_context(VideoWriter(path, job.card.fps)) for path in paths]
        self._recorded = self._recorded_frames(job, key)

    @staticmethod
    def _recorded_frames(job: RolloutJob, key: str) -> Iterator[np.ndarray]:
        count = 0
        for chunk in read_episode_chunks(job.frames_folder, job.frames, key):
            yield from chunk.frames[: job.card.end_frame - count]
            count += len(chunk.frames)
            if count >= job.card.end_frame:
                return

    def add(self, frames: np.ndarray) -> None:
        """Write the next generated frames, uint8 (T, H, W, 3)."""
        generated, recorded, beside = self._writers
        zoom = max(1, -(-ZOOMED_HEIGHT // frames.shape[1]))
        for frame in frames:
            generated.write(frame)
            true = next(self._recorded, None)
            if true is not None:
                recorded.write(true)
                beside.write(np.concatenate([true, frame], 1).repeat(zoom, 0).repeat(zoom, 1))
