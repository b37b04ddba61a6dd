"""The latents set on disk: writing its tars, and reading any frames of any level without reading the rest."""

import io
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
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
from mstv.data.shards import index_members, npy_bytes, read_npy, write_shard
from mstv.errors import UserError
from mstv.levels import Levels

OPEN_TARS = 64
"""Tars that one store keeps mapped; each holds one open file."""


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
    """One mapped tar, the places of its members, and the arrays that were looked at."""

    data: np.memmap
    members: dict[str, dict[str, tuple[int, int]]]
    arrays: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)


class LatentStore:
    """A latents set, read at random; cheap to make, to pickle and to share with worker processes.

    Args:
        folder: holds the tars and `manifest.json`; a local one, since they are mapped.

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
        """Everything but the mapped files, which another process maps anew."""
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
        array = tar.arrays.get((key, level))
        if array is None:
            array = tar.arrays[key, level] = self._level(tar, key, level)
        # An array of indices copies by itself.
        return array[frames].copy() if isinstance(frames, slice) else array[frames]

    def actions(self, key: str) -> np.ndarray | None:
        """Actions of the episode, int16 (T,) or float32 (T, A); None for kind `none`."""
        actions = self._array(key, ACTIONS)
        self.actions_spec.check(actions, self.num_frames(key), self._where(key, ACTIONS))
        return actions

    def poses(self, key: str) -> np.ndarray | None:
        """Poses, float32 (T, 5): x, y, z in blocks, yaw and pitch in degrees; None where there are none."""
        poses = self._array(key, POSES)
        if poses is not None and (poses.dtype != np.float32 or poses.shape != (self.num_frames(key), 5)):
            raise UserError(
                f"{self._where(key, POSES)}: is {poses.dtype} {poses.shape}, "
                f"expected float32 {(self.num_frames(key), 5)}"
            )
        return poses

    def record(self, key: str) -> LatentEpisode:
        """Record of the episode."""
        where = self._where(key, RECORD)
        content = self._member(key, RECORD)
        if content is None:
            raise UserError(f"{where}: is missing: encode the set again")
        record = LatentEpisode.parse(content.tobytes(), where)
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
        """The mapped tar, the one that was not used for longest making room for it."""
        if shard.name in self._tars:
            self._tars.move_to_end(shard.name)
            return self._tars[shard.name]
        path = self.folder / shard.name
        members = index_members(path)
        tar = self._tars[shard.name] = _Tar(np.memmap(path, np.uint8, "r"), members)
        if len(self._tars) > OPEN_TARS:
            self._tars.popitem(last=False)
        return tar

    def _member(self, key: str, member: str) -> np.ndarray | None:
        """Bytes of a member, still in the file; None where the sample has no such member."""
        tar = self._tar(self._shard(key))
        if key not in tar.members:
            raise UserError(
                f"{self._where(key, RECORD)}: is missing, though manifest.json lists it: copy the tar again"
            )
        if member not in tar.members[key]:
            return None
        offset, size = tar.members[key][member]
        return tar.data[offset : offset + size]

    def _array(self, key: str, member: str) -> np.ndarray | None:
        content = self._member(key, member)
        return None if content is None else read_npy(content.tobytes(), self._where(key, member))

    def _level(self, tar: _Tar, key: str, level: int) -> np.ndarray:
        """Latents of the whole episode at one level, still in the file, checked against the manifest."""
        if not 0 <= level < self.levels.num_levels:
            raise UserError(f"{self.folder}: has levels 0..{self.levels.num_levels - 1}, not {level}")
        member = level_member(level)
        where = self._where(key, member)
        content = self._member(key, member)
        if content is None:
            raise UserError(f"{where}: is missing: encode the set again")
        header = io.BytesIO(content[:4096].tobytes())
        try:
            version = np.lib.format.read_magic(header)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, fortran_order, dtype = read_header(header)
        except ValueError as error:
            raise UserError(f"{where}: is not an npy array ({error}): encode the set again") from None
        expected = (self.num_frames(key), *self.levels.grid(level), self.channels)
        if dtype != np.dtype("<f2") or shape != expected or fortran_order:
            raise UserError(f"{where}: is {dtype} {shape}, manifest.json says float16 {expected}: encode the set again")
        values = content[header.tell() :]
        if len(values) != np.prod(shape) * dtype.itemsize:
            raise UserError(f"{where}: holds {len(values)} bytes of {shape} float16 values: copy the tar again")
        return np.asarray(values).view(dtype).reshape(shape)
