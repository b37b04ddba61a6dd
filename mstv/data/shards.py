"""Tars of samples in WebDataset's layout: written byte for byte alike, read strictly, indexed for random access."""

import hashlib
import io
import math
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, NamedTuple

import numpy as np

from mstv.data.schema import ACTIONS, POSES, RECORD, VIDEO, Chunk, Episode, Manifest, Shard, atomic_path
from mstv.data.video import decode_video
from mstv.errors import UserError

Sample = tuple[str, dict[str, bytes]]
"""Key of a sample, and the bytes of each member by its extension."""
Members = dict[str, dict[str, tuple[int, int]]]
"""Sample key -> extension -> (offset, size) of the member's bytes in the tar."""

_OWNER = "mstv"


class _HashingFile(io.RawIOBase):
    """Passes bytes on to a file and hashes them on the way, so that a tar need not be read again."""

    def __init__(self, file: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self.num_bytes = 0
        self._file = file

    def writable(self) -> bool:
        """Say that bytes may be written, as tarfile asks."""
        return True

    def write(self, data: Any) -> int:
        """Write and hash."""
        self.digest.update(data)
        self.num_bytes += len(data)
        return self._file.write(data)


def write_shard(path: Path, samples: Iterable[Sample]) -> tuple[int, int, str]:
    """Write a tar atomically; the same samples give the same bytes (no clock time, one owner, sorted members).

    Args:
        path: the tar.
        samples: (key, {extension: bytes}); a key holds no dot.

    Returns:
        (number of samples, bytes of the tar, sha256 of the tar).

    Raises:
        UserError: the folder cannot be written.
        ValueError: a key that is used twice, is empty, or holds a dot or slash.
    """
    # webdataset imports torch, which only a writer should pay for.
    from webdataset.writer import TarWriter

    seen: set[str] = set()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        hashing = _HashingFile(file)
        # GNU, since a USTAR name ends at 100 characters.
        with TarWriter(
            hashing, user=_OWNER, group=_OWNER, mtime=0, encoder=False, compress=False, format="GNU_FORMAT"
        ) as writer:
            for key, members in samples:
                if key in seen or not key or any(character in key for character in "./\\"):
                    raise ValueError(f"{path}: sample key {key!r} is used twice, empty, or holds a dot or slash")
                seen.add(key)
                writer.write({"__key__": key, **members})
    return len(seen), hashing.num_bytes, hashing.digest.hexdigest()


def index_members(path: Path) -> Members:
    """Where each member of a tar lies, found by reading its headers only.

    Raises:
        UserError: no such file, not a tar, a tar that is cut short, or a member that is no plain file in its root.
    """
    members: Members = {}
    last = None
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            size = os.fstat(file.fileno()).st_size
            end = 0
            for header in tar:
                key, extension = _checked_name(header, path)
                end = header.offset_data + -(-header.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if end > size:
                    raise UserError(f"{path}: member {header.name} is cut short: make the tar again")
                if key != last and key in members:
                    raise UserError(f"{path}: members of {key} do not stand together: make the tar again")
                if extension in members.setdefault(key, {}):
                    raise UserError(f"{path}: member {header.name} stands twice: make the tar again")
                members[key][extension] = (header.offset_data, header.size)
                last = key
            # tarfile takes a damaged header for the end of the tar; a real end is blocks of zeros.
            file.seek(end)
            rest = file.read()
            if len(rest) < 2 * tarfile.BLOCKSIZE or any(rest):
                after = f"after {last}" if last else "at its start"
                raise UserError(f"{path}: is cut short or damaged {after}: make the tar again")
    except tarfile.TarError as error:
        raise UserError(f"{path}: not a readable tar ({error}): make it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}): check the path") from None
    return members


def _checked_name(header: tarfile.TarInfo, path: Path) -> tuple[str, str]:
    """(key, extension) of a member that may be trusted."""
    key, dot, extension = header.name.partition(".")
    if not header.isreg() or not (key and dot and extension) or "/" in header.name or "\\" in header.name:
        raise UserError(
            f"{path}: member {header.name!r} is refused: only plain files <key>.<extension> in the root belong there"
        )
    return key, extension


def read_samples(path: Path) -> Iterator[Sample]:
    """Samples of a tar in order, each as (key, {extension: bytes}); headers are all checked before the first.

    Raises:
        UserError: see `index_members`.
    """
    members = index_members(path)
    with path.open("rb") as file:
        for key, places in members.items():
            sample = {}
            for extension, (offset, size) in places.items():
                file.seek(offset)
                sample[extension] = file.read(size)
            yield key, sample


def npy_bytes(array: np.ndarray) -> bytes:
    """The array as an npy file.

    Raises:
        ValueError: an array of objects.
    """
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def read_npy(data: bytes, where: str | Path) -> np.ndarray:
    """The array of an npy file; pickled objects are refused.

    Raises:
        UserError: not a whole npy file; `where` names it.
    """
    try:
        # Looked at first, since room for what the header says is taken before anything is read.
        file = io.BytesIO(data)
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if math.prod(shape) * dtype.itemsize > len(data):
            raise ValueError(f"its header says {dtype} {shape}, which is more than the file holds")
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, TypeError, SyntaxError, RecursionError, TokenError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(f"{where}: not a readable npy array ({reason}): it is damaged, make it again") from None


def find_shard(manifest: Manifest, key: str) -> Shard:
    """The shard that holds an episode.

    Raises:
        UserError: no shard holds it.
    """
    for shard in manifest.shards:
        if key in shard.episodes:
            return shard
    raise UserError(f"episode {key}: no shard of this set holds it: check the key")


class EpisodeChunk(NamedTuple):
    """T consecutive frames of an episode.

    Attributes:
        frames: uint8 (T, H, W, 3) RGB.
        actions: int16 (T,) or float32 (T, A), or None.
        poses: float32 (T, 5), or None.
        episode: record of the whole episode.
    """

    frames: np.ndarray
    actions: np.ndarray | None
    poses: np.ndarray | None
    episode: Episode


def read_episode_chunks(folder: Path, manifest: Manifest, key: str) -> Iterator[EpisodeChunk]:
    """The chunks of one episode of a set of frame shards, in order.

    Args:
        folder: holds the tars.
        manifest: of kind `frames`.
        key: the episode's.

    Raises:
        UserError: the set has no such episode, or its chunks are damaged, missing or do not fit together.
    """
    shard = find_shard(manifest, key)
    path = folder / shard.name
    members = index_members(path)
    total = number = 0
    episode: Episode | None = None
    with path.open("rb") as file:
        while total < shard.episodes[key]:
            name = Chunk.sample_key(key, number)
            sample = {}
            for extension, (offset, size) in members.get(name, {}).items():
                file.seek(offset)
                sample[extension] = file.read(size)
            if not {VIDEO, RECORD} <= sample.keys():
                raise UserError(f"{path}: sample {name} is missing or lacks {VIDEO} or {RECORD}: shard the set again")
            chunk = Chunk.parse(sample[RECORD], f"{path}: {name}.{RECORD}")
            episode = chunk.episode
            frames = decode_video(sample[VIDEO], f"{path}: {name}.{VIDEO}")
            arrays: dict[str, np.ndarray | None] = {ACTIONS: None, POSES: None}
            for extension in arrays.keys() & sample.keys():
                array = arrays[extension] = read_npy(sample[extension], f"{path}: {name}.{extension}")
                if extension == ACTIONS:
                    episode.actions.check(array, chunk.num_frames, f"{path}: {name}.{extension}")
                elif array.shape != (chunk.num_frames, 5):
                    found = f"poses have shape {array.shape}, expected {(chunk.num_frames, 5)}"
                    raise UserError(f"{path}: {name}.{extension}: {found}")
            if chunk.first_frame != total or len(frames) != chunk.num_frames:
                raise UserError(f"{path}: {name}: its frames do not follow on from those before: shard the set again")
            total += chunk.num_frames
            number += 1
            yield EpisodeChunk(frames, arrays[ACTIONS], arrays[POSES], episode)
    if episode is None or total != episode.num_frames:
        raise UserError(f"{path}: episode {key} has {total} frames, which its record denies: shard the set again")


def read_episode_frames(
    folder: Path, manifest: Manifest, key: str
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, Episode]:
    """One whole episode of a set of frame shards, its chunks joined.

    Args:
        folder: holds the tars.
        manifest: of kind `frames`.
        key: the episode's.

    Returns:
        (frames uint8 (T, H, W, 3) RGB, actions int16 (T,) or float32 (T, A) or None, poses float32 (T, 5) or None,
        the episode's record).

    Raises:
        UserError: as `read_episode_chunks`.
    """
    chunks = list(read_episode_chunks(folder, manifest, key))
    frames = np.concatenate([chunk.frames for chunk in chunks])
    actions, poses = (
        np.concatenate([part for part in parts if part is not None])
        if all(part is not None for part in parts)
        else None
        for parts in ([chunk.actions for chunk in chunks], [chunk.poses for chunk in chunks])
    )
    episode = chunks[0].episode
    episode.actions.check(actions, len(frames), f"{folder / find_shard(manifest, key).name}: {key}.{ACTIONS}")
    return frames, actions, poses, episode
