"""A set of episodes, be it a folder of raw episodes or of frame shards, read part by part."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from data_tools.episode import RawEpisodes, member_path
from mstv.data.schema import (
    ACTIONS,
    MANIFEST,
    POSES,
    RECORD,
    SPLITS,
    VIDEO,
    Chunk,
    Episode,
    Shard,
    read_manifest,
    split_of,
)
from mstv.data.shards import index_members, read_npy
from mstv.errors import UserError

RAW_PART_EPISODES = 64
"""Episodes of a part of a raw folder; a fixed number, so that results do not depend on the workers."""


class EpisodeArrays(NamedTuple):
    """What an episode holds beside its video.

    Attributes:
        record: of the episode.
        actions: int16 (T,) or float32 (T, A), or None.
        poses: float32 (T, 5), or None.
    """

    record: Episode
    actions: np.ndarray | None
    poses: np.ndarray | None


class Part(Protocol):
    """Some whole episodes of one split, cheap to send to a worker."""

    @property
    def split(self) -> str:
        """Split of all its episodes."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the episodes, in order."""

    @property
    def num_bytes(self) -> int:
        """Size on disk, bytes."""

    def record(self, key: str) -> Episode:
        """Record of an episode."""

    def arrays(self, key: str) -> EpisodeArrays:
        """Record, actions and poses of an episode; reads no video."""

    def video_chunk(self, key: str, number: int) -> bytes:
        """An mp4 with frames [number * `chunk_frames`, (number + 1) * `chunk_frames`) of an episode, or fewer."""

    def chunk_frames(self, key: str) -> int:
        """Frames of each mp4 of an episode but its last."""


@dataclass(frozen=True)
class RawPart:
    """Raw episodes; `split` is where `mstv-data shard` puts their worlds by default. See `Part`."""

    raw: RawEpisodes
    split: str

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the episodes."""
        return tuple(self.raw.records)

    @property
    def num_bytes(self) -> int:
        """Size on disk."""
        members = (VIDEO, ACTIONS, POSES, RECORD)
        paths = (member_path(self.raw.folder, key, member) for key in self.keys for member in members)
        return sum(path.stat().st_size for path in paths if path.is_file())

    def record(self, key: str) -> Episode:
        """Record of an episode."""
        return self.raw.records[key]

    def arrays(self, key: str) -> EpisodeArrays:
        """Record, actions and poses.

        Raises:
            UserError: an array is missing, damaged or of the wrong shape.
        """
        record = self.raw.records[key]
        actions, poses = self.raw.array(key, ACTIONS), self.raw.array(key, POSES)
        return _checked(EpisodeArrays(record, actions, poses), f"{self.raw.folder / key}")

    def video_chunk(self, key: str, number: int) -> bytes:
        """The whole video, which is chunk 0."""
        path = self.raw.video(key)
        try:
            return path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}): make the episode again") from None

    def chunk_frames(self, key: str) -> int:
        """Frames of the episode."""
        return self.raw.records[key].num_frames


@dataclass(frozen=True)
class TarPart:
    """One tar of frame shards. See `Part`."""

    path: Path
    shard: Shard
    split: str
    frames_per_chunk: int

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the episodes."""
        return tuple(self.shard.episodes)

    @property
    def num_bytes(self) -> int:
        """Size on disk."""
        return self.shard.num_bytes

    def record(self, key: str) -> Episode:
        """Record of an episode.

        Raises:
            UserError: the tar lacks it or is damaged.
        """
        return self._chunk(key, 0).episode

    def arrays(self, key: str) -> EpisodeArrays:
        """Record, actions and poses.

        Raises:
            UserError: the tar is damaged, or an array has the wrong shape.
        """
        found: dict[str, list[np.ndarray]] = {ACTIONS: [], POSES: []}
        number = total = 0
        while total < self.shard.episodes[key]:
            chunk = self._chunk(key, number)
            if chunk.first_frame != total:
                raise UserError(f"{self.path}: chunk {number} of {key} does not follow on: shard the set again")
            name = Chunk.sample_key(key, number)
            for extension, arrays in found.items():
                if extension in self._members[name]:
                    arrays.append(read_npy(self._read(key, number, extension), f"{self.path}: {name}.{extension}"))
            total += chunk.num_frames
            number += 1
        actions, poses = (np.concatenate(arrays) if arrays else None for arrays in found.values())
        return _checked(EpisodeArrays(chunk.episode, actions, poses), f"{self.path}: {key}")

    def video_chunk(self, key: str, number: int) -> bytes:
        """The mp4 of a chunk."""
        return self._read(key, number, VIDEO)

    def chunk_frames(self, key: str) -> int:
        """Frames of a chunk."""
        return self.frames_per_chunk

    @cached_property
    def _members(self) -> dict[str, dict[str, tuple[int, int]]]:
        return index_members(self.path)

    def _read(self, key: str, number: int, extension: str) -> bytes:
        name = Chunk.sample_key(key, number)
        place = self._members.get(name, {}).get(extension)
        if place is None:
            raise UserError(f"{self.path}: member {name}.{extension} is missing: shard the set again")
        with self.path.open("rb") as file:
            file.seek(place[0])
            return file.read(place[1])

    def _chunk(self, key: str, number: int) -> Chunk:
        where = f"{self.path}: {Chunk.sample_key(key, number)}.{RECORD}"
        chunk = Chunk.parse(self._read(key, number, RECORD), where)
        if chunk.episode.key != key or chunk.episode.num_frames != self.shard.episodes[key]:
            raise UserError(f"{where}: is not of the episode that {MANIFEST} describes: shard the set again")
        return chunk


def open_set(folder: Path) -> list[Part]:
    """The parts of a set, split by split.

    Args:
        folder: of raw episodes, or of frame shards with their manifest.

    Raises:
        UserError: no such folder, neither of the two, or an unreadable record or manifest.
    """
    if folder.is_dir() and (folder / MANIFEST).is_file():
        manifest = read_manifest(folder, "frames")
        if manifest.chunk_frames is None:
            raise UserError(f"{folder / MANIFEST}: field chunk_frames is missing: shard the set again")
        if not manifest.shards:
            raise UserError(f"{folder / MANIFEST}: field shards is empty: shard some episodes first")
        splits = list(dict.fromkeys((*SPLITS, *(shard.split for shard in manifest.shards))))
        tars: list[Part] = [
            TarPart(folder / shard.name, shard, split, manifest.chunk_frames)
            for split in splits
            for shard in manifest.of_split(split)
        ]
        return tars
    raw = RawEpisodes(folder)
    parts: list[Part] = []
    for split in SPLITS:
        keys = [key for key, record in raw.records.items() if split_of(record.source.world) == split]
        for start in range(0, len(keys), RAW_PART_EPISODES):
            parts.append(RawPart(raw.only(keys[start : start + RAW_PART_EPISODES]), split))
    return parts


def is_sharded(parts: Sequence[Part]) -> bool:
    """Whether the parts come from frame shards, whose splits are settled."""
    return any(isinstance(part, TarPart) for part in parts)


def _checked(arrays: EpisodeArrays, where: str) -> EpisodeArrays:
    """Refuse arrays that do not fit the record."""
    record, actions, poses = arrays
    record.actions.check(actions, record.num_frames, f"{where}.{ACTIONS}")
    if poses is not None and poses.shape != (record.num_frames, 5):
        raise UserError(f"{where}.{POSES}: shape is {poses.shape}, expected {(record.num_frames, 5)}: make it again")
    return arrays
