"""A recording of a foreign set: where it was found, and what was recorded beside its pictures."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_tools.importers.source_file import bad
from mstv.data.schema import ActionSpec, Split, safe_key
from mstv.errors import UserError

_LONGEST_KEY = 120
"""Characters; the names of files that are made from it must stay below 255."""


@dataclass(frozen=True)
class Recording:
    """A recording that was found, not yet read; its files may be missing.

    Attributes:
        video: path of the video.
        name: that path relative to the source folder; it names the recording in reports and records.
        world: id of the world; splits keep a world whole.
        files: what stands beside the video: actions, poses, metadata.
        split: the split in which it was published, if one was.
        num_frames: frames that an index announces.
        subset: whether others of the set are knowingly not here.
    """

    video: Path
    name: str
    world: str
    files: tuple[Path, ...] = ()
    split: Split | None = None
    num_frames: int | None = None
    subset: bool = False

    @property
    def key(self) -> str:
        """Stem of the keys of its episodes."""
        return recording_key(Path(self.name))

    def segment_key(self, segment: int) -> str:
        """Key of a segment's episode."""
        return f"{self.key}-{segment:04d}"

    @property
    def num_bytes(self) -> int:
        """Size of all its files that are there."""
        return sum(path.stat().st_size for path in (self.video, *self.files) if path.is_file())

    def check_files(self) -> None:
        """Raise UserError where a file of it is missing."""
        for path in (self.video, *self.files):
            if not path.is_file():
                others = [other.name for other in (self.video, *self.files) if other != path]
                raise bad(path, f"is missing, it belongs to {others[0]}" if others else "is missing")


@dataclass(frozen=True)
class Track:
    """What was recorded beside the pictures of one recording, in our convention: `actions[t]` produced frame t.

    Attributes:
        spec: what the actions are.
        actions: int16 (T,) or float32 (T, A), one row per frame after the dropped ones; None without actions. Row 0 is
            never used: the first action of every segment is null.
        poses: float32 (T, 5): x, y, z in blocks, yaw and pitch in degrees; None where unknown.
        fps: frames a second; None keeps the average rate of the video.
        drop: frames at the start of the video that come before the first row.
        shift: frames by which the source's actions were moved to get here.
        settings: what else is worth keeping in the record.
    """

    spec: ActionSpec = field(default_factory=ActionSpec)
    actions: np.ndarray | None = None
    poses: np.ndarray | None = None
    fps: float | None = None
    drop: int = 0
    shift: int = 0
    settings: Mapping[str, str | int | float] = field(default_factory=dict)

    def check(self, where: Path) -> None:
        """Raise UserError, naming the file `where`, unless actions and poses fit each other and the spec."""
        if self.actions is None:
            return
        if not len(self.actions):
            raise bad(where, "holds no frames")
        self.spec.check(self.actions, len(self.actions), where)
        if self.poses is not None and len(self.poses) != len(self.actions):
            raise bad(where, f"holds {len(self.poses)} poses, but actions for {len(self.actions)} frames")

    def frames(self, decoded: Iterator[np.ndarray], recording: Recording) -> Iterator[np.ndarray]:
        """The decoded frames that have a row each.

        Raises:
            UserError: when they end, if there are more or fewer frames than rows.
        """
        if self.actions is None:
            yield from decoded
            return
        count = -self.drop
        for frame in decoded:
            count += 1
            if 0 < count <= len(self.actions):
                yield frame
        if count != len(self.actions):
            after = f" after the first {self.drop}" if self.drop else ""
            raise bad(
                recording.video,
                f"holds {max(count, 0)} frames{after}, but {recording.files[0].name} is for {len(self.actions)}",
            )

    def row(self, frame: int, first: bool) -> tuple[np.ndarray | int | None, np.ndarray | None]:
        """Action and pose of a frame; the first of a segment has the null action, for it continues nothing."""
        pose = None if self.poses is None else self.poses[frame]
        if self.actions is None:
            return None, pose
        null = self.spec.null(1)
        assert null is not None
        return (null[0] if first else self.actions[frame]), pose


def recording_key(name: Path) -> str:
    """Key of a recording by its name relative to the source folder."""
    key = safe_key(str(name.with_suffix("")))
    if len(key) > _LONGEST_KEY:
        digest = hashlib.sha256(str(name).encode()).hexdigest()[:12]
        key = f"{key[: _LONGEST_KEY - 13]}-{digest}"
    return key


def files_below(folder: Path, leave_out: Path) -> Iterator[Path]:
    """All files below `folder`, relative to it, folder by folder; no hidden ones, none in `leave_out`.

    Raises:
        UserError: no such folder, or a name that is not UTF-8.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: give the folder of the recordings")
    left_out = leave_out.resolve()
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if (Path(parent) / name).resolve() != left_out)
        for name in sorted(names):
            if name.startswith("."):
                continue
            path = (Path(parent) / name).relative_to(folder)
            try:
                str(path).encode()
            except UnicodeEncodeError:
                raise UserError(f"{folder}: holds {str(path)!r}, a name that is not UTF-8: rename it") from None
            yield path


def find_pairs(folder: Path, leave_out: Path, videos: Sequence[str], beside: str) -> Iterator[tuple[Path, Path]]:
    """Videos and the files of the same name beside them, relative to `folder`; either may be missing.

    Args:
        folder: searched with all folders below.
        leave_out: a folder that is not searched.
        videos: suffixes of videos; where two videos have one name, the suffix that comes first is taken.
        beside: suffix of the other file.

    Raises:
        UserError: no such folder, or nothing of the kind in it.
    """
    stems: dict[Path, set[str]] = {}
    for name in files_below(folder, leave_out):
        if name.suffix in (*videos, beside):
            stems.setdefault(name.with_suffix(""), set()).add(name.suffix)
    if not stems:
        raise UserError(f"{folder}: holds no {', '.join(videos)} with {beside}: give another folder")
    for stem, suffixes in sorted(stems.items()):
        video = next((suffix for suffix in videos if suffix in suffixes), videos[0])
        yield stem.with_name(stem.name + video), stem.with_name(stem.name + beside)


def published_split(folder: Path, name: Path, names: Mapping[str, Split]) -> Split | None:
    """The split that a folder's name says: the first one below the source folder, or the source folder itself."""
    for part in (name.parts[0], folder.resolve().name):
        if part in names:
            return names[part]
    return None


def split_recordings(folder: Path, leave_out: Path, name: str, splits: Mapping[str, Split]) -> list[Recording]:
    """Recordings of an mp4 and an npz each, in folders named after their splits; each is a world of its own.

    Args:
        folder: searched with all folders below.
        leave_out: a folder below that is not searched.
        name: of the format, as the worlds' ids begin.
        splits: see `published_split`.

    Raises:
        UserError: see `find_pairs`.
    """
    return [
        Recording(
            folder / video,
            str(video),
            f"{name}-{recording_key(video)}",
            (folder / beside,),
            published_split(folder, video, splits),
        )
        for video, beside in find_pairs(folder, leave_out, (".mp4",), ".npz")
    ]
