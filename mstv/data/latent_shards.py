"""The latents set on disk: writing its tars, and reading any frames of any level without reading the rest."""

import io
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from jaxtyping import Float16, Int

from mstv.data.location import Location
from mstv.data.schema import (
    ACTIONS,
    POSES,
    RECORD,
    ActionSpec,
    LatentEpisode,
    Shard,
    level_member,
    read_manifest,
)
from mstv.data.shards import Members, index_members, npy_bytes, read_npy, write_shard
from mstv.errors import UserError
from mstv.levels import Levels

OPEN_TARS = 64
"""Tars that one store keeps open."""


@dataclass(frozen=True)
class LatentSample:
    """The latents of one episode.

    Attributes:
        record: the episode and its T, the frames that have latents.
        levels: of each level, float16 (T, rows, columns, C), in [-1, 1].
        actions: int16 (T,) or float32 (T, A); None for kind `none`.
        poses: float32 (T, 5); None where the episode has none.
    """

    record: LatentEpisode
    levels: list[Float16[np.ndarray, "_T _h _w C"]] = field(repr=False)
    actions: np.ndarray | None = field(default=None, repr=False)
    poses: np.ndarray | None = field(default=None, repr=False)


def write_latent_shard(path: Path, episodes: Iterable[LatentSample]) -> Shard:
    """Write one tar of a latents set, atomically, and describe it for the manifest.

    Args:
        path: `<split>-<number>.tar`.
        episodes: whole episodes, written one after the other.

    Raises:
        UserError: the folder cannot be written, or actions do not fit their spec.
        ValueError: arrays that the contract does not allow.
    """
    frames: dict[str, int] = {}
    worlds: set[str] = set()

    def members() -> Iterator[tuple[str, dict[str, bytes]]]:
        for sample in episodes:
            record = sample.record
            key, num_frames = record.episode.key, record.num_frames
            record.episode.actions.check(sample.actions, num_frames, f"{path}: {key}.{ACTIONS}")
            arrays = {level_member(level): array for level, array in enumerate(sample.levels)}
            if any(array.dtype != np.float16 or len(array) != num_frames for array in arrays.values()):
                raise ValueError(f"{path}: {key}: latents must be float16 with {num_frames} frames")
            if sample.actions is not None:
                arrays[ACTIONS] = sample.actions
            if sample.poses is not None:
                arrays[POSES] = sample.poses
            frames[key] = num_frames
            worlds.add(record.episode.source.world)
            # The record comes last, as in a raw episode: where it is, the rest is.
            yield key, {**{name: npy_bytes(array) for name, array in arrays.items()}, RECORD: record.to_bytes()}

    num_samples, num_bytes, sha256 = write_shard(path, members())
    return Shard(
        name=path.name,
        num_samples=num_samples,
        num_frames=sum(frames.values()),
        num_bytes=num_bytes,
        sha256=sha256,
        episodes=frames,
        worlds=tuple(sorted(worlds)),
    )


@dataclass
class _Tar:
    """One open tar, the places of its members, and what was looked at: where latents begin, actions, poses.

    Read with plain reads and not mapped: a page fault brings megabytes of its surroundings in, and a crop needs a few
    kilobytes here and there.
    """

    path: Path
    members: Members
    starts: dict[tuple[str, int], int] = field(default_factory=dict)
    actions: dict[str, np.ndarray | None] = field(default_factory=dict)
    poses: dict[str, np.ndarray | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._file = -1
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror}): check the path") from None
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def read(self, offset: int, size: int) -> bytes:
        """Just these bytes.

        Raises:
            UserError: they cannot be read, or the tar has become shorter.
        """
        parts = []
        while size:
            try:
                part = os.pread(self._file, size, offset)
            except OSError as error:
                raise UserError(f"{self.path}: cannot be read ({error.strerror}): copy the tar again") from None
            if not part:
                raise UserError(f"{self.path}: has become shorter: copy the tar again")
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class LatentStore:
    """A latents set, read at random; cheap to make, to pickle and to share with worker processes.

    Args:
        folder: holds the tars and `manifest.json`; a local one, since it is read at random.

    Raises:
        UserError: a URL, or no latents set is there; see `read_manifest`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder = Location.of(folder).local_folder("latents")
        self.manifest = read_manifest(folder, "latents")
        size, patch, count = self.manifest.image_size, self.manifest.patch_size, self.manifest.num_levels
        if patch is None or count is None or self.manifest.latent_channels is None:
            raise UserError(
                f"{folder}: manifest.json lacks patch_size, num_levels or latent_channels: encode the set again"
            )
        self.levels = Levels(size, patch, count)
        self.channels = self.manifest.latent_channels
        self._shards = {key: shard for shard in self.manifest.shards for key in shard.episodes}
        self._tars: OrderedDict[str, _Tar] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the open files, which another process opens anew."""
        return {**self.__dict__, "_tars": OrderedDict()}

    @property
    def actions_spec(self) -> ActionSpec:
        """What the actions of every episode are."""
        return self.manifest.actions

    def keys(self, split: str) -> list[str]:
        """Episodes of a split, in the order of its tars; empty for a split without any."""
        return [key for shard in self.manifest.of_split(split) for key in shard.episodes]

    def num_frames(self, key: str) -> int:
        """T, frames of the episode that have latents."""
        return self._shard(key).episodes[key]

    def read(
        self, key: str, level: int, frames: slice | Int[np.ndarray, " n"] = slice(None)
    ) -> Float16[np.ndarray, "n h w C"]:
        """Latents of some frames at one level, indexed as numpy does; no other bytes are read.

        Raises:
            UserError: the set has no such episode or level, or the tar is damaged or does not fit the manifest.
            IndexError: a frame that the episode does not have.
        """
        tar = self._tar(self._shard(key))
        if (key, level) not in tar.starts:
            tar.starts[key, level] = self._start(key, level)
        start = tar.starts[key, level]
        indices = np.arange(self.num_frames(key))[frames]
        shape = (*self.levels.grid(level), self.channels)
        row = int(np.prod(shape)) * 2
        values = np.empty((len(indices), *shape), np.float16)
        flat = values.reshape(-1).view(np.uint8)
        runs = np.flatnonzero(np.diff(indices) != 1) + 1 if len(indices) else ()
        for first, last in pairwise([0, *runs, len(indices)]):
            if first < last:
                size = int(last - first) * row
                data = tar.read(start + int(indices[first]) * row, size)
                flat[first * row : first * row + size] = np.frombuffer(data, np.uint8)
        return values

    def actions(self, key: str) -> np.ndarray | None:
        """Actions of the episode, int16 (T,) or float32 (T, A); None for kind `none`."""
        known = self._tar(self._shard(key)).actions
        if key not in known:
            actions = self._array(key, ACTIONS)
            self.actions_spec.check(actions, self.num_frames(key), self._where(key, ACTIONS))
            known[key] = actions
        found = known[key]
        return None if found is None else found.copy()

    def poses(self, key: str) -> np.ndarray | None:
        """Poses, float32 (T, 5): x, y, z in blocks, yaw and pitch in degrees; None where there are none."""
        known = self._tar(self._shard(key)).poses
        if key not in known:
            poses = self._array(key, POSES)
            if poses is not None and (poses.dtype != np.float32 or poses.shape != (self.num_frames(key), 5)):
                raise UserError(
                    f"{self._where(key, POSES)}: is {poses.dtype} {poses.shape}, "
                    f"expected float32 {(self.num_frames(key), 5)}"
                )
            known[key] = poses
        found = known[key]
        return None if found is None else found.copy()

    def record(self, key: str) -> LatentEpisode:
        """Record of the episode."""
        where = self._where(key, RECORD)
        content = self._member(key, RECORD)
        if content is None:
            raise UserError(f"{where}: is missing: encode the set again")
        record = LatentEpisode.parse(content, where)
        if record.num_frames != self.num_frames(key) or record.episode.key != key:
            raise UserError(
                f"{where}: is of {record.episode.key} with {record.num_frames} frames, "
                f"manifest.json says {key} with {self.num_frames(key)}: encode the set again"
            )
        return record

    def _shard(self, key: str) -> Shard:
        if key not in self._shards:
            raise UserError(f"{self.folder}: holds no episode {key}")
        return self._shards[key]

    def _where(self, key: str, member: str) -> str:
        return f"{self.folder / self._shard(key).name}: member {key}.{member}"

    def _tar(self, shard: Shard) -> _Tar:
        """The open tar, the one that was not used for longest making room for it."""
        if shard.name in self._tars:
            self._tars.move_to_end(shard.name)
            return self._tars[shard.name]
        path = self.folder / shard.name
        tar = self._tars[shard.name] = _Tar(path, index_members(path))
        if len(self._tars) > OPEN_TARS:
            self._tars.popitem(last=False)
        return tar

    def _place(self, key: str, member: str) -> tuple[int, int] | None:
        """(offset, size) of a member; None where the sample has no such member."""
        tar = self._tar(self._shard(key))
        if key not in tar.members:
            raise UserError(
                f"{self._where(key, RECORD)}: is missing, though manifest.json lists it: copy the tar again"
            )
        return tar.members[key].get(member)

    def _member(self, key: str, member: str) -> bytes | None:
        place = self._place(key, member)
        return self._tar(self._shard(key)).read(*place) if place else None

    def _array(self, key: str, member: str) -> np.ndarray | None:
        content = self._member(key, member)
        return None if content is None else read_npy(content, self._where(key, member))

    def _start(self, key: str, level: int) -> int:
        """Where in its tar the latents of the first frame stand, once the array fits the manifest."""
        if not 0 <= level < self.levels.num_levels:
            raise UserError(f"{self.folder}: has levels 0..{self.levels.num_levels - 1}, not {level}")
        member = level_member(level)
        where = self._where(key, member)
        place = self._place(key, member)
        if place is None:
            raise UserError(f"{where}: is missing: encode the set again")
        offset, size = place
        header = io.BytesIO(self._tar(self._shard(key)).read(offset, min(size, 4096)))
        try:
            version = np.lib.format.read_magic(header)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, fortran_order, dtype = read_header(header)
        except (ValueError, TypeError, SyntaxError, EOFError, RecursionError, TokenError) as error:
            reason = str(error).split("\n", 1)[0]
            raise UserError(f"{where}: is not an npy array ({reason}): encode the set again") from None
        expected = (self.num_frames(key), *self.levels.grid(level), self.channels)
        if dtype != np.dtype("<f2") or shape != expected or fortran_order:
            raise UserError(f"{where}: is {dtype} {shape}, manifest.json says float16 {expected}: encode the set again")
        held = size - header.tell()
        if held != np.prod(shape) * dtype.itemsize:
            raise UserError(f"{where}: holds {held} bytes of {shape} float16 values: copy the tar again")
        return offset + header.tell()
