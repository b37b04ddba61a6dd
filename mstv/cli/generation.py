"""Generating what a rollout lacks: batch by batch, in constant memory, resumable at any step."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress, TaskID

from mstv.checkpoint import load_file
from mstv.cli.rollout_job import DECODED_AT_ONCE, RolloutJob
from mstv.cli.rollout_videos import RolloutVideos, rollout_videos
from mstv.data.conditions import Conditions
from mstv.data.latents import stack_latents
from mstv.data.npy_stream import NpyStream
from mstv.data.schema import atomic_path
from mstv.errors import UserError
from mstv.progress import progress
from mstv.rollout.generate import Rollout, RolloutState

SAVE_SECONDS = 10.0
"""What an interrupt loses at most of a rollout, besides one step."""

Streams = dict[int, list[NpyStream]]
"""Of each level that is kept, level 0 first, the files of the batch's episodes."""


def roll_out(job: RolloutJob) -> bool:
    """Generate, decode and write the episodes that are not complete yet.

    Returns:
        Whether all frames were generated now, none by an earlier try.
    """
    keys = [key for key in job.keys if not job.videos_complete(key)]
    if not keys:
        return False
    new = [key for key in keys if not job.latents_path(key).is_file()]
    batches = [_Batch(job, new[start : start + job.batch_size]) for start in range(0, len(new), job.batch_size)]
    first, end = job.card.context_frames, job.card.end_frame
    done = (len(job.keys) - len(new)) * (end - first)
    with progress("frames") as bar:
        for batch in batches:
            if written := batch.num_written():
                done += len(batch.keys) * (written - first)
                names = batch.keys[0] if len(batch.keys) == 1 else f"{batch.keys[0]} to {batch.keys[-1]}"
                bar.console.print(f"{names}: going on at frame {written} of {end}", highlight=False, soft_wrap=True)
        title = f"{len(job.keys)} episode{'s' * (len(job.keys) != 1)}"
        task = bar.add_task(title, total=len(job.keys) * (end - first), completed=done)
        for number, batch in enumerate(batches, 1):
            batch.run(bar, task, f"batch {number}/{len(batches)}" if len(batches) > 1 else title)
        for key in keys:
            # Those of an earlier try that was stopped between their latents and their videos.
            if key not in new:
                with rollout_videos(job, [key]) as videos:
                    _replay(job.latents(key), videos)
    return done == 0


def _replay(latents: np.ndarray, videos: RolloutVideos) -> None:
    """Give the finished latents (T, rows, columns, C) of one episode to its videos."""
    for first in range(0, len(latents), DECODED_AT_ONCE):
        videos.add(torch.from_numpy(latents[None, first : first + DECODED_AT_ONCE].copy()))


@dataclass
class _Batch:
    """Episodes that are generated at once."""

    job: RolloutJob
    keys: list[str]

    @property
    def state_path(self) -> Path:
        """File of the state of an interrupted batch."""
        return self.job.latents_path(self.keys[0]).with_name(f".{self.keys[0]}.state.pt")

    def num_written(self) -> int:
        """Frames, context included, that an earlier try wrote; 0 for a new batch."""
        saved = self._saved()
        return saved["num_frames"] if saved else 0

    def run(self, bar: Progress, task: TaskID, title: str) -> None:
        """Generate all frames from where an earlier try stands, which the bar counts already."""
        job, card = self.job, self.job.card
        actions = Conditions(job.store, job.module.conditions).stack(self.keys, card.end_frame)
        span = (card.context_frames, card.end_frame)
        rollout = Rollout(job.module.plan, job.module.levels, *span, self.keys, actions, card.seed)
        state, num_frames = self._state(rollout)
        sample = job.module.step_sampler(job.sampling)
        with ExitStack() as stack:
            streams = self._streams(num_frames, stack)
            videos = stack.enter_context(rollout_videos(job, self.keys))
            if not num_frames:
                self._add_context(streams)
            finest = streams[0]
            for first in range(0, finest[0].num_rows, DECODED_AT_ONCE):
                rows = [stream.read(first, first + DECODED_AT_ONCE) for stream in finest]
                videos.add(torch.from_numpy(np.stack(rows)))
            saved_at = time.monotonic()
            with job.runtime.autocast():
                for finished in rollout.run(state, sample):
                    bar.update(task, description=f"{title}, step {state.num_done}/{rollout.num_steps}")
                    count = finished.latents.shape[1]
                    if count:
                        levels = rollout.finished_levels(state, finished)
                        for level, of_level in streams.items():
                            latents = levels[level]
                            assert latents is not None, "see Plan.coarse_levels"
                            for stream, rows in zip(of_level, latents.cpu().numpy(), strict=True):
                                stream.append(rows)
                        videos.add(finished.latents)
                        bar.advance(task, len(self.keys) * count)
                    if time.monotonic() - saved_at > SAVE_SECONDS:
                        self._save(state, streams)
                        saved_at = time.monotonic()
            # Who is killed from here on finds no level 0, and begins anew, or all that there is.
            self.state_path.unlink(missing_ok=True)
            for level in sorted(streams, reverse=True):
                for stream in streams[level]:
                    stream.finish()

    def _state(self, rollout: Rollout) -> tuple[RolloutState, int]:
        """The state to go on from, and the frames (context included) that are written; (a new one, 0) if none."""
        device = self.job.runtime.device
        if saved := self._saved():
            latents = [level.to(device) for level in saved["latents"]]
            return RolloutState(latents, saved["num_done"]), saved["num_frames"]
        end = self.job.card.context_frames
        needed = slice(end - rollout.plan.first_target_frame, end)
        levels = range(rollout.plan.num_levels)
        context = [stack_latents(self.job.store, self.keys, level, needed).to(device) for level in levels]
        return rollout.begin(context), 0

    def _saved(self) -> dict[str, Any] | None:
        """What `_save` wrote of these very episodes, if it did."""
        if not self.state_path.is_file():
            return None
        try:
            saved = load_file(self.state_path)
        except UserError as error:
            raise UserError(f"{error}: delete it, and these episodes begin anew") from None
        # Another batch size or number of processes groups episodes differently: such a batch begins anew.
        return saved if saved.get("keys") == self.keys else None

    def _streams(self, num_frames: int, stack: ExitStack) -> Streams:
        job, streams = self.job, Streams()
        for level in (0, *job.card.coarse_levels):
            shape, streams[level] = job.latents_shape(level), []
            for key in self.keys:
                stream = NpyStream(job.latents_path(key, level), shape, np.dtype("float32"), num_frames)
                stack.callback(stream.close)
                streams[level].append(stream)
        return streams

    def _add_context(self, streams: Streams) -> None:
        frames = slice(self.job.card.context_frames)
        for level, of_level in streams.items():
            for key, stream in zip(self.keys, of_level, strict=True):
                stream.append(self.job.store.read(key, level, frames).astype(np.float32))

    def _save(self, state: RolloutState, streams: Streams) -> None:
        for of_level in streams.values():
            for stream in of_level:
                stream.flush()
        saved = {"keys": self.keys, "latents": state.latents, "num_done": state.num_done}
        with atomic_path(self.state_path) as temporary:
            torch.save({**saved, "num_frames": streams[0][0].num_rows}, temporary)
