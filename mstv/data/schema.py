"""The data contract: every name, field and version that an artefact on disk carries.

This module is the only place that knows these names. Every artefact has one writer and one reader, carries
`schema_version`, who made it and from what, and is written under a temporary name, then renamed.
"""

import errno
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator

import mstv
from mstv.errors import UserError

SCHEMA_VERSION = 1
GOP_FRAMES = 8
"""Frames per closed group of pictures in every mp4 that we write; chunks are cut at its multiples, losslessly."""
SPLITS = ("train", "validation", "test")
MANIFEST = "manifest.json"
VIDEO, ACTIONS, POSES, RECORD = "mp4", "actions.npy", "poses.npy", "json"
MAX_LEVELS = 16
"""Levels that a latents set may have; each halves the grid of the one before."""
TOKENIZER_COPY = "tokenizer.ckpt"
"""The tokenizer checkpoint that stands inside every latents folder, so that the folder can be decoded alone."""
CAMPAIGN = "recording.campaign.json"
"""Who recorded a folder of raw episodes, when and how; no episode has such a name, for a key holds no dot."""
MAKER = f"mstv {mstv.__version__}"
HOST = re.sub(r"[^A-Za-z0-9]+", "_", socket.gethostname()) or "host"
"""Name of this machine, as it stands in the names of temporary files, since a folder may be shared by many."""
KEY_PATTERN = r"^[A-Za-z0-9_-]+$"
"""An episode key holds no dot (webdataset cuts names at the first one) and no slash (nothing leaves its folder)."""

_R = TypeVar("_R", bound="Record")
Split = Literal["train", "validation", "test"]

_UNWRITABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EISDIR, errno.ENOTDIR),
    errno.ENAMETOOLONG,
}


def level_member(level: int) -> str:
    """Name of the member that holds the latents of `level`: float16 (T, rows, columns, C)."""
    return f"level{level}.npy"


class Record(BaseModel):
    """A JSON document with a schema version; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    created_by: str = MAKER

    @classmethod
    def parse(cls: type[_R], text: str | bytes, where: str | Path) -> _R:
        """Read a record from JSON text; `where` names the file in errors.

        Raises:
            UserError: not JSON, another schema version, or a field that does not fit.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not valid JSON ({error}): it is damaged, make it again") from None
        if not isinstance(data, dict) or "schema_version" not in data:
            raise UserError(f"{where}: field schema_version is missing: this is not an mstv {cls.__name__} file")
        if data["schema_version"] != SCHEMA_VERSION:
            raise UserError(
                f"{where}: field schema_version is {data['schema_version']}, this mstv reads {SCHEMA_VERSION}: "
                "make it again with this version"
            )
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise UserError(f"{where}: field {field}: {first['msg']}") from None

    @classmethod
    def read(cls: type[_R], path: Path) -> _R:
        """Read a record from a file; see `parse`."""
        try:
            text = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}): check the path") from None
        return cls.parse(text, path)

    def to_bytes(self) -> bytes:
        """The record as JSON, the same bytes for the same record."""
        return (self.model_dump_json(indent=1) + "\n").encode()

    def write(self, path: Path) -> None:
        """Write the record atomically."""
        with atomic_path(path) as temporary:
            temporary.write_bytes(self.to_bytes())


class ActionSpec(BaseModel):
    """What an episode's actions are; `actions[t]` is the action that PRODUCED frame t, `actions[0]` is null.

    kind `none`: there are no actions. `discrete`: int16 (T,), ids index `names`, null is -1. `vector`: float32
    (T, A) with one name and one unit per column, null is zeros; camera columns are degrees as applied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["none", "discrete", "vector"] = "none"
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_fit_kind(self) -> "ActionSpec":
        if (self.kind == "none") != (not self.names):
            raise ValueError(f"actions of kind {self.kind} have {len(self.names)} names")
        if self.kind == "vector" and len(self.units) != len(self.names):
            raise ValueError(f"{len(self.names)} action columns but {len(self.units)} units")
        return self

    @property
    def size(self) -> int:
        """Number of ids (discrete) or of columns (vector)."""
        return len(self.names)

    def null(self, num_frames: int) -> np.ndarray | None:
        """Null actions for `num_frames` frames, or None for kind `none`."""
        if self.kind == "discrete":
            return np.full(num_frames, -1, np.int16)
        return np.zeros((num_frames, self.size), np.float32) if self.kind == "vector" else None

    def check(self, actions: np.ndarray | None, num_frames: int, where: str | Path) -> None:
        """Raise UserError unless `actions` has this spec's dtype, shape (`num_frames` rows) and range."""
        # One row stands for all: `num_frames` may come from a damaged record, and be huge.
        expected = self.null(1)
        if actions is None or expected is None:
            if actions is not expected:
                raise UserError(
                    f"{where}: actions are {'absent' if actions is None else 'present'} for kind {self.kind}"
                )
            return
        shape = (num_frames, *expected.shape[1:])
        if actions.dtype != expected.dtype or actions.shape != shape:
            raise UserError(f"{where}: actions are {actions.dtype} {actions.shape}, expected {expected.dtype} {shape}")
        if self.kind == "discrete" and num_frames and not (actions.min() >= -1 and actions.max() < self.size):
            raise UserError(
                f"{where}: action ids must lie in -1..{self.size - 1}, found {actions.min()}..{actions.max()}"
            )
        if not np.isfinite(actions).all():
            raise UserError(f"{where}: actions hold a NaN or an infinity")


class Source(BaseModel):
    """Where an episode comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str = Field(description="engine or importer, such as blockworld or videos")
    versions: dict[str, str] = {}
    world: str = Field(description="id of the world; splits keep a world whole")
    seed: int | None = None
    policy: str | None = None
    file: str | None = Field(
        default=None, description="name of the imported file, relative to the folder of the import"
    )
    first_frame: int = Field(
        default=0, description="first frame of this segment, counted from the file's start at `fps`"
    )
    settings: dict[str, str | int | float] = Field(
        default={}, description="what else shaped the episode, such as segment_frames; a resumed import compares them"
    )


class Episode(Record):
    """Record of one raw episode; its presence beside the arrays means that the episode is complete."""

    key: str = Field(pattern=KEY_PATTERN)
    fps: float = Field(gt=0)
    num_frames: int = Field(gt=0)
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    source: Source
    actions: ActionSpec = ActionSpec()
    action_shift: int = Field(default=0, description="frames by which the source's actions were moved to get here")
    subset: bool = Field(default=False, description="whether this is part of a larger set, knowingly")
    checksums: dict[str, str] = Field(
        default={}, description="sha256 of decoded frames (`frames`: yuv420p planes in order) and of each array's bytes"
    )


class Chunk(Record):
    """Record of one sample of a frame shard: frames [first_frame, first_frame + num_frames) of an episode."""

    episode: Episode
    chunk: int = Field(ge=0)
    first_frame: int = Field(ge=0)
    num_frames: int = Field(gt=0)
    checksums: dict[str, str] = Field(description="as in Episode, of this chunk alone")

    @staticmethod
    def sample_key(episode_key: str, chunk: int) -> str:
        """Key of the sample: `<episode>-<chunk>`; no dot, since webdataset cuts names at the first one."""
        return f"{episode_key}-{chunk:05d}"


class LatentEpisode(Record):
    """Record of one sample of a latent shard."""

    episode: Episode
    num_frames: int = Field(gt=0)


class Shard(BaseModel):
    """One tar of a set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z]+-\d{6}\.tar$")
    num_samples: int
    num_frames: int
    num_bytes: int
    sha256: str
    episodes: dict[str, int] = Field(description="key -> frames, whole episodes in the order of the tar")
    worlds: tuple[str, ...]

    @property
    def split(self) -> str:
        """The split that the shard belongs to."""
        return self.name.rsplit("-", 1)[0]


class TokenizerSource(BaseModel):
    """The tokenizer that made a latents set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str = Field(description="file name")
    sha256: str = Field(description="of its weights, see `mstv.checkpoint.weights_sha256`")
    copy_sha256: str = Field(description="of the file `TOKENIZER_COPY` in the latents' folder")


class Manifest(Record):
    """`manifest.json` beside the tars of a set of frame shards or latent shards, written last."""

    kind: Literal["frames", "latents"]
    fps: float = Field(gt=0)
    image_size: tuple[PositiveInt, PositiveInt] = Field(description="(H, W) of the frames")
    actions: ActionSpec
    chunk_frames: int | None = Field(
        default=None, gt=0, description="frames: length of every chunk but an episode's last"
    )
    shards: tuple[Shard, ...]
    patch_size: tuple[PositiveInt, PositiveInt] | None = Field(default=None, description="latents: (ph, pw)")
    num_levels: int | None = Field(default=None, gt=0, le=MAX_LEVELS, description="latents: number of levels")
    latent_channels: int | None = Field(default=None, gt=0, description="latents: C")
    tokenizer: TokenizerSource | None = None
    source: str | None = Field(default=None, description="what this was made from, relative to the manifest's folder")
    source_sha256: str | None = Field(default=None, description="sha256 of the source set's manifest")

    @field_validator("shards")
    @classmethod
    def _worlds_stay_in_one_split(cls, shards: tuple[Shard, ...]) -> tuple[Shard, ...]:
        home: dict[str, str] = {}
        for shard in shards:
            for world in shard.worlds:
                if home.setdefault(world, shard.split) != shard.split:
                    raise ValueError(f"world {world} is in {home[world]} and in {shard.split}: splits leak")
        return shards

    @property
    def sha256(self) -> str:
        """Identity of the set."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def of_split(self, split: str) -> list[Shard]:
        """The shards of `split`, in order of their names."""
        return sorted((shard for shard in self.shards if shard.split == split), key=lambda shard: shard.name)


def read_manifest(folder: Path, kind: Literal["frames", "latents"]) -> Manifest:
    """Manifest of the set in `folder`.

    Raises:
        UserError: no such folder, no manifest, another schema version, or a set of the other kind.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: give the folder of a {kind} set")
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder}: holds no {MANIFEST}: it is empty, half-made or not a {kind} set")
    manifest = Manifest.read(folder / MANIFEST)
    if manifest.kind != kind:
        raise UserError(f"{folder / MANIFEST}: field kind is {manifest.kind}, expected {kind}")
    return manifest


def split_of(world: str, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> Split:
    """Split of a world, by a hash of its id alone, so that it never changes as a set grows.

    Args:
        world: id of the world.
        fractions: expected shares of train, validation and test worlds; they sum to 1.
    """
    position = int.from_bytes(hashlib.sha256(world.encode()).digest()[:8], "big") / 2**64
    if position < fractions[0]:
        return "train"
    return "validation" if position < fractions[0] + fractions[1] else "test"


def safe_key(name: str) -> str:
    """`name` with every character that an episode key may not hold replaced by a hyphen."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "episode"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it on success and removed on failure.

    Raises:
        UserError: the folder cannot be written.
    """
    with temporary_path(path) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, removed at the end if it was not renamed.

    Raises:
        UserError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{HOST}-{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot be made or written ({error.strerror}): choose another output folder"
        ) from None
    try:
        yield temporary
    except OSError as error:
        ours = error.filename is None or str(error.filename) == str(temporary)
        # Its folder is there: where a file in it is "not found", such as in /proc, none can be made.
        if error.errno not in _UNWRITABLE and not (ours and error.errno == errno.ENOENT):
            raise
        raise UserError(
            f"{path if ours else error.filename}: cannot be written ({error.strerror}): choose another output folder"
        ) from None
    finally:
        with suppress(OSError):  # where nothing can be written: the error of the writing is the one to tell
            temporary.unlink(missing_ok=True)


def array_sha256(array: np.ndarray) -> str:
    """Checksum of an array's values in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def file_sha256(path: Path) -> str:
    """Checksum of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
