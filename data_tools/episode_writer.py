"""The one writer of raw episodes."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np

from data_tools.episode import member_path, remove_episode
from data_tools.output_folder import committing
from mstv.data.schema import ACTIONS, POSES, RECORD, VIDEO, ActionSpec, Episode, Source, array_sha256, temporary_path
from mstv.data.shards import npy_bytes
from mstv.data.video import CRF, VideoWriter, frames_sha256
from mstv.errors import UserError


class EpisodeWriter:
    """Writes one raw episode as its frames come; a context manager, and on an error nothing of the episode stays.

    All files are written under temporary names and get theirs together at the end. If another process has completed
    the episode meanwhile, its files stay and these are dropped.

    Args:
        folder: receives `<key>.mp4`, `<key>.actions.npy`, `<key>.poses.npy` and last `<key>.json`.
        key: the episode's; an incomplete or older episode of that key is replaced.
        fps: frames a second.
        source: where the frames come from.
        actions: what the actions are; kind `none` writes no actions.
        action_shift: frames by which the source's actions were moved to get here.
        subset: whether this is part of a larger set, knowingly.
        crf: constant rate factor of x264, 0 (lossless) to 51.
        hold_record: leave `<key>.json` to the caller, who writes `episode` when the episode may count as complete.

    Attributes:
        episode: the record, after the context ended without error.
    """

    episode: Episode

    def __init__(
        self,
        folder: Path,
        key: str,
        fps: float,
        source: Source,
        actions: ActionSpec | None = None,
        *,
        action_shift: int = 0,
        subset: bool = False,
        crf: int = CRF,
        hold_record: bool = False,
    ) -> None:
        self._folder, self._key, self._fps, self._source = folder, key, fps, source
        self._spec = actions or ActionSpec()
        self._action_shift, self._subset, self._hold_record = action_shift, subset, hold_record
        self._actions: list[np.ndarray | int] = []
        self._poses: list[np.ndarray] = []
        self._crf = crf

    def add(self, frame: np.ndarray, action: np.ndarray | int | None = None, pose: np.ndarray | None = None) -> None:
        """Add a frame.

        Args:
            frame: uint8 (H, W, 3) RGB, H and W even and equal in all frames.
            action: what produced the frame; an id (-1 is null) or float (A,) by the kind; None for kind `none`.
            pose: float32 (5,): x, y, z in blocks, yaw and pitch in degrees; given for all frames or for none.
        """
        self._video.write(frame)
        if action is not None:
            self._actions.append(action)
        if pose is not None:
            self._poses.append(np.asarray(pose, np.float32))

    def __enter__(self) -> "EpisodeWriter":
        remove_episode(self._folder, self._key)
        with contextlib.ExitStack() as stack:
            self._temporary = stack.enter_context(temporary_path(member_path(self._folder, self._key, VIDEO)))
            self._video = VideoWriter(self._temporary, self._fps, self._crf, where=self._key)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:
            self._video.__exit__(kind, error, traceback)
            if error is not None:
                return
            written = {VIDEO: self._temporary, **self._write_arrays()}
            record = member_path(self._folder, self._key, RECORD)
            with committing(self._folder):
                if record.is_file():
                    return
                # The record last: where it is, the episode is whole.
                for extension, temporary in written.items():
                    os.replace(temporary, member_path(self._folder, self._key, extension))
                if not self._hold_record:
                    self.episode.write(record)

    def _write_arrays(self) -> dict[str, Path]:
        """Make the record, and write actions and poses under temporary names; these by extension."""
        num_frames, size = self._video.num_frames, self._video.size
        assert size is not None
        actions = self._spec.null(num_frames)
        if actions is not None:
            if len(self._actions) != num_frames:
                raise UserError(f"{self._key}: {len(self._actions)} actions for {num_frames} frames")
            actions[:] = self._actions
        self._spec.check(actions, num_frames, self._key)
        if self._poses and len(self._poses) != num_frames:
            raise UserError(f"{self._key}: {len(self._poses)} poses for {num_frames} frames")
        written: dict[str, Path] = {}
        checksums = {"frames": frames_sha256(self._temporary)[0]}
        arrays = {"actions": (ACTIONS, actions), "poses": (POSES, np.stack(self._poses) if self._poses else None)}
        for name, (extension, array) in arrays.items():
            if array is not None:
                checksums[name] = array_sha256(array)
                path = member_path(self._folder, self._key, extension)
                written[extension] = self._stack.enter_context(temporary_path(path))
                written[extension].write_bytes(npy_bytes(array))
        self.episode = Episode(
            key=self._key,
            fps=self._fps,
            num_frames=num_frames,
            height=size[0],
            width=size[1],
            source=self._source,
            actions=self._spec,
            action_shift=self._action_shift,
            subset=self._subset,
            checksums=checksums,
        )
        return written


def write_episode(
    folder: Path,
    key: str,
    frames: Iterable[np.ndarray],
    fps: float,
    source: Source,
    actions: np.ndarray | None = None,
    poses: np.ndarray | None = None,
    spec: ActionSpec | None = None,
    *,
    action_shift: int = 0,
    subset: bool = False,
    crf: int = CRF,
) -> Episode:
    """Write one raw episode whose actions and poses are known beforehand; frames are streamed.

    Args:
        folder, key, fps, source, action_shift, subset, crf: see `EpisodeWriter`.
        frames: uint8 (H, W, 3) RGB each.
        actions: int16 (T,) or float32 (T, A); `actions[t]` produced frame t.
        poses: float32 (T, 5).
        spec: what the actions are.

    Raises:
        UserError: arrays of another length than the frames, or actions that do not fit `spec`.
    """
    writer = EpisodeWriter(folder, key, fps, source, spec, action_shift=action_shift, subset=subset, crf=crf)
    rows = 0
    with writer:
        for rows, frame in enumerate(frames, 1):
            for name, array in (("actions", actions), ("poses", poses)):
                if array is not None and len(array) < rows:
                    raise UserError(f"{key}: {name} has {len(array)} rows, but there are more frames")
            writer.add(
                frame,
                None if actions is None else actions[rows - 1],
                None if poses is None else poses[rows - 1],
            )
        for name, array in (("actions", actions), ("poses", poses)):
            if array is not None and len(array) != rows:
                raise UserError(f"{key}: {name} has {len(array)} rows for {rows} frames")
    return writer.episode
