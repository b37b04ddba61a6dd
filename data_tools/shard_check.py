"""Checks of one tar of a set against the set's manifest; every problem is a line of text."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_tools.episode_reading import EpisodeReader, EpisodeReading
from data_tools.problems import Problems
from mstv.data.schema import (
    ACTIONS,
    MANIFEST,
    POSES,
    RECORD,
    VIDEO,
    Chunk,
    Episode,
    LatentEpisode,
    Manifest,
    Shard,
    file_sha256,
    level_member,
)
from mstv.data.shards import read_npy, read_samples
from mstv.errors import UserError


@dataclass
class ShardReport:
    """What was found in one tar.

    Attributes:
        name: of the tar.
        problems: one line each.
        worlds: that its records name.
        frames: of each episode by key, as found.
        readings: of each episode whose frames were decoded.
    """

    name: str
    problems: Problems = field(default_factory=Problems)
    worlds: set[str] = field(default_factory=set)
    frames: dict[str, int] = field(default_factory=dict)
    readings: list[EpisodeReading] = field(default_factory=list)


class ShardCheck:
    """Checks one tar.

    Args:
        folder: of the set.
        manifest: of the set.
        shard: the tar, as the manifest describes it.
        decode: whether videos are decoded and compared with their checksums.
    """

    def __init__(self, folder: Path, manifest: Manifest, shard: Shard, decode: bool) -> None:
        self._path, self._manifest, self._shard, self._decode = folder / shard.name, manifest, shard, decode
        self._report = ShardReport(shard.name)
        self._problems = self._report.problems
        self._episode: Episode | None = None
        self._digest = hashlib.sha256()
        self._reader: EpisodeReader | None = None

    def run(self) -> ShardReport:
        """Check everything; never raises for what is wrong in the tar."""
        shard, path = self._shard, self._path
        if not path.is_file():
            self._problems.append(f"{path}: is missing")
            return self._report
        self._problems.expect(path, "num_bytes", path.stat().st_size, shard.num_bytes)
        self._problems.expect(path, "sha256", file_sha256(path), shard.sha256)
        samples = 0
        try:
            for key, members in read_samples(path):
                samples += 1
                with self._problems.caught():
                    if self._manifest.kind == "frames":
                        self._check_chunk(key, members)
                    else:
                        self._check_latents(key, members)
        except UserError as error:
            # The headers are read first, so nothing else could be looked at.
            self._problems.append(str(error))
            return self._report
        self._end_episode()
        self._problems.expect(path, "num_samples", samples, shard.num_samples)
        self._problems.expect(path, "num_frames", sum(self._report.frames.values()), shard.num_frames)
        self._problems.expect(path, "episodes", self._report.frames, shard.episodes)
        self._problems.expect(path, "worlds", tuple(sorted(self._report.worlds)), tuple(sorted(shard.worlds)))
        return self._report

    def _check_chunk(self, key: str, members: dict[str, bytes]) -> None:
        where = f"{self._path}: {key}"
        if RECORD not in members:
            raise UserError(f"{where}: member {RECORD} is missing")
        chunk = Chunk.parse(members[RECORD], f"{where}.{RECORD}")
        episode = chunk.episode
        if self._episode is None or self._episode.key != episode.key:
            self._end_episode()
            self._episode, self._digest, self._reader = episode, hashlib.sha256(), None
            if episode.key in self._report.frames:
                raise UserError(f"{where}: chunks of {episode.key} do not stand together")
        elif self._episode != episode:
            raise UserError(f"{where}: its record of episode {episode.key} differs from that of the chunk before")
        self._check_episode(where, episode)
        start = self._report.frames.get(episode.key, 0)
        length = self._manifest.chunk_frames or chunk.num_frames
        self._problems.expect(where, "key", key, Chunk.sample_key(episode.key, chunk.chunk))
        self._problems.expect(where, "chunk", start // length, chunk.chunk)
        self._problems.expect(where, "first_frame", start, chunk.first_frame)
        if chunk.num_frames != (expected := min(length, episode.num_frames - start)):
            told = f"field num_frames is {chunk.num_frames}, but {expected} by {MANIFEST} and its record"
            self._problems.append(f"{where}: {told}")
        self._report.frames[episode.key] = start + chunk.num_frames
        # The reading of an episode goes on only from one sound chunk to the next.
        reader, self._reader = self._reader, None
        actions = self._problems.expect_arrays(where, members, episode, chunk.num_frames, chunk.checksums)
        self._check_members(where, members, {VIDEO}, episode)
        if not self._decode:
            return
        size = self._manifest.image_size
        if start == 0 and (episode.height, episode.width) == size:
            reader = EpisodeReader(episode)
        reader = reader if chunk.first_frame == start else None

        def take(planes: bytes) -> None:
            self._digest.update(planes)
            if reader is not None:
                reader.add_frame(planes)

        if reader is not None and actions is not None:
            reader.add_actions(actions)
        checksum = chunk.checksums.get("frames")
        self._problems.expect_frames(f"{where}.{VIDEO}", members[VIDEO], size, chunk.num_frames, checksum, take)
        self._reader = reader

    def _end_episode(self) -> None:
        """Compare what all chunks of the last episode hold with its record."""
        if self._episode is None:
            return
        where, episode = f"{self._path}: {self._episode.key}", self._episode
        if self._manifest.kind == "frames":
            self._problems.expect(where, "num_frames", self._report.frames.get(episode.key), episode.num_frames)
            if self._decode:
                checksum = episode.checksums.get("frames")
                self._problems.expect(where, "checksums.frames", self._digest.hexdigest(), checksum)
        reading = self._reader.reading() if self._reader is not None else None
        if reading is not None:
            self._report.readings.append(reading)
        self._episode, self._reader = None, None

    def _check_episode(self, where: str, episode: Episode) -> None:
        manifest = self._manifest
        self._report.worlds.add(episode.source.world)
        fields = {"fps": episode.fps, "image_size": (episode.height, episode.width), "actions": episode.actions}
        for name, found in fields.items():
            if found != (expected := getattr(manifest, name)):
                self._problems.append(f"{where}: field {name} is {found}, but {expected} in {MANIFEST}")

    def _check_members(self, where: str, members: dict[str, bytes], others: set[str], episode: Episode) -> None:
        wanted = {RECORD, *others}
        wanted |= {extension for extension in (ACTIONS, POSES) if extension.partition(".")[0] in episode.checksums}
        if set(members) != wanted:
            missing, extra = sorted(wanted - set(members)), sorted(set(members) - wanted)
            raise UserError(f"{where}: members missing: {missing}, members too many: {extra}")

    def _check_latents(self, key: str, members: dict[str, bytes]) -> None:
        where, manifest = f"{self._path}: {key}", self._manifest
        if RECORD not in members:
            raise UserError(f"{where}: member {RECORD} is missing")
        record = LatentEpisode.parse(members[RECORD], f"{where}.{RECORD}")
        self._problems.expect(where, "key", key, record.episode.key)
        self._check_episode(where, record.episode)
        self._report.frames[record.episode.key] = record.num_frames
        self._problems.expect_arrays(where, members, record.episode, record.num_frames, {})
        (height, width), (rows, columns) = manifest.image_size, manifest.patch_size or (1, 1)
        levels = range(manifest.num_levels or 0)
        self._check_members(where, members, {level_member(level) for level in levels}, record.episode)
        for level in levels:
            name = level_member(level)
            with self._problems.caught():
                latents = read_npy(members[name], f"{where}.{name}")
                grid = (height // rows >> level, width // columns >> level)
                expected = (np.dtype(np.float16), (record.num_frames, *grid, manifest.latent_channels))
                if (found := (latents.dtype, latents.shape)) != expected:
                    told = f"{expected[0]} {expected[1]} by {MANIFEST} and its record"
                    self._problems.append(f"{where}.{name}: field shape is {found[0]} {found[1]}, but {told}")
                if latents.dtype == np.float16 and not np.isfinite(latents).all():
                    self._problems.append(f"{where}.{name}: holds a NaN or an infinity")
