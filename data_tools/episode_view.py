"""One episode as a preview shows it: its clip, some still frames, actions and poses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.clip import join_clip
from data_tools.episode_set import Part
from mstv.data.schema import ActionSpec, Episode
from mstv.data.video import decode_frames
from mstv.errors import UserError

NUM_STILLS = 8
_MAX_STILL = 320  # pixels; wider frames are thinned out
_MAX_PATH = 2000  # points of the whole walk; what the clip shows is drawn point by point


@dataclass(frozen=True)
class EpisodeView:
    """What is shown of an episode.

    Attributes:
        record: of the episode.
        split: its split.
        clip: name of the mp4 in the preview's folder of clips.
        num_frames: frames of the clip, which starts with the episode.
        actions: of the whole episode, int16 (T,) or float32 (T, A), or None.
        poses: of the whole episode, float32 (T, 5), or None.
        stills: (frame, uint8 (h, w, 3) RGB) each, from the first to the last frame.
    """

    record: Episode
    split: str
    clip: str
    num_frames: int
    actions: np.ndarray | None
    poses: np.ndarray | None
    stills: tuple[tuple[int, np.ndarray], ...]

    @classmethod
    def make(cls, part: Part, key: str, clip_path: Path, clip_frames: int) -> "EpisodeView":
        """Read an episode and write its clip.

        Args:
            part: holds the episode.
            key: the episode's.
            clip_path: mp4 to write.
            clip_frames: length of the clip, if the episode has so many frames.

        Raises:
            UserError: the episode is damaged.
        """
        record, actions, poses = part.arrays(key)
        step = part.chunk_frames(key)
        num_frames = min(clip_frames, record.num_frames)
        chunks = (part.video_chunk(key, number) for number in range(-(-num_frames // step)))
        clip_path.write_bytes(join_clip(chunks, num_frames, key))
        stills = []
        for frame in dict.fromkeys(np.linspace(0, record.num_frames - 1, NUM_STILLS).round().astype(int).tolist()):
            video = part.video_chunk(key, frame // step)
            try:
                picture = decode_frames(video, [frame % step], key)[0]
            except IndexError:
                raise UserError(f"{key}: frame {frame} is missing from its video: make the episode again") from None
            thin = -(-max(picture.shape[:2]) // _MAX_STILL)
            stills.append((frame, picture[::thin, ::thin].copy()))
        return cls(record, part.split, clip_path.name, num_frames, actions, poses, tuple(stills))

    def action_text(self, frame: int) -> str:
        """The action of a frame in a word: its name, or nothing for vectors and null actions."""
        if self.record.actions.kind != "discrete" or self.actions is None or self.actions[frame] < 0:
            return ""
        return self.record.actions.names[int(self.actions[frame])]

    def page_data(self) -> dict[str, Any]:
        """What the page's script shows, ready for JSON; numbers that are not finite become null."""
        data: dict[str, Any] = {"fps": self.record.fps, "frames": self.num_frames, "actions": None, "poses": None}
        if self.actions is not None:
            data["actions"] = _actions_data(self.record.actions, self.actions[: self.num_frames])
        if self.poses is not None:
            data["poses"] = _rounded(self.poses[: self.num_frames], 3)
            thin = -(-len(self.poses) // _MAX_PATH)
            data["path"] = _rounded(self.poses[::thin, [0, 2]], 2)
        return data

    def facts(self) -> list[tuple[str, str]]:
        """Names and values of what its record says."""
        record = self.record
        source = record.source
        versions = ", ".join(f"{name} {version}" for name, version in source.versions.items())
        facts = [
            ("world", source.world),
            ("split", self.split),
            ("frames", f"{record.num_frames:,} at {record.fps:g}/s, {record.num_frames / record.fps:.1f} s"),
            ("size", f"{record.width} × {record.height} pixels"),
            ("made by", f"{source.engine} ({versions})" if versions else source.engine),
            ("policy", source.policy or ""),
            ("seed", "" if source.seed is None else str(source.seed)),
            ("file", source.file or ""),
            ("first frame", f"{source.first_frame:,} of the file" if source.first_frame else ""),
            ("settings", ", ".join(f"{name} {value}" for name, value in source.settings.items())),
            ("actions", _actions_text(record.actions)),
            ("action shift", f"{record.action_shift:+d} frames" if record.action_shift else ""),
            ("poses", "none" if self.poses is None else ""),
            ("subset", "part of a larger set" if record.subset else ""),
        ]
        return [(name, value) for name, value in facts if value]


def _actions_text(spec: ActionSpec) -> str:
    if spec.kind == "none":
        return "none"
    names = [f"{n} ({u})" for n, u in zip(spec.names, spec.units, strict=True)] if spec.units else spec.names
    return f"{spec.kind}: {', '.join(names)}"


def _actions_data(spec: ActionSpec, actions: np.ndarray) -> dict[str, Any]:
    """Names and rows of actions, and how the columns of vectors are drawn: as camera, buttons or bars."""
    data: dict[str, Any] = {"kind": spec.kind, "names": spec.names}
    if spec.kind == "discrete":
        return {**data, "rows": actions.tolist()}
    camera = {axis: _camera_column(spec.names, axis) for axis in ("yaw", "pitch")}
    buttons = [
        column
        for column, unit in enumerate(spec.units)
        if unit == "0/1" or (not unit and column not in camera.values() and np.isin(actions[:, column], (0, 1)).all())
    ]
    return {
        **data,
        "units": spec.units,
        "rows": _rounded(actions, 4),
        "camera": camera,
        "buttons": buttons,
        "limits": np.abs(actions).max(0).astype(np.float64).round(4).tolist(),
    }


def _camera_column(names: Sequence[str], axis: str) -> int | None:
    """The column that turns the view about an axis, told by its name."""
    return next((column for column, name in enumerate(names) if axis in name.lower()), None)


def _rounded(values: np.ndarray, decimals: int) -> list[list[float | None]]:
    rows = np.round(values.astype(np.float64), decimals).tolist()
    return [[value if np.isfinite(value) else None for value in row] for row in rows]
