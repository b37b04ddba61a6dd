"""One tar of frame shards: written from raw episodes, and recognised again."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_tools.episode import RawEpisodes
from mstv.data.schema import ACTIONS, POSES, RECORD, VIDEO, Chunk, Episode, Shard, array_sha256, file_sha256
from mstv.data.shards import index_members, npy_bytes, write_shard
from mstv.data.video import cut_video, frame_planes
from mstv.errors import UserError


def write_frame_shard(raw: RawEpisodes, path: Path, chunk_frames: int) -> Shard:
    """Write all episodes of `raw` into one tar, atomically; their videos are cut without loss.

    Raises:
        UserError: an episode is damaged or not what was recorded; `path` cannot be written.
    """
    num_samples, num_bytes, sha256 = write_shard(
        path, (sample for key in raw.records for sample in _samples(raw, key, chunk_frames))
    )
    episodes = {key: episode.num_frames for key, episode in raw.records.items()}
    return Shard(
        name=path.name,
        num_samples=num_samples,
        num_frames=sum(episodes.values()),
        num_bytes=num_bytes,
        sha256=sha256,
        episodes=episodes,
        worlds=tuple(sorted({episode.source.world for episode in raw.records.values()})),
    )


def _samples(raw: RawEpisodes, key: str, chunk_frames: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The chunks of an episode, with the decoded frames checked against its record on the way."""
    episode, video = raw.records[key], raw.video(key)
    arrays: dict[str, np.ndarray] = {}
    for extension in (ACTIONS, POSES):
        array = raw.array(key, extension)
        if array is not None:
            if len(array) != episode.num_frames:
                raise UserError(f"{video.parent / key}.{extension}: {len(array)} rows for {episode.num_frames} frames")
            arrays[extension] = array
    episode.actions.check(arrays.get(ACTIONS), episode.num_frames, f"{video.parent / key}.{ACTIONS}")
    whole = hashlib.sha256()
    start = 0
    for number, data in enumerate(cut_video(video, chunk_frames)):
        digest = hashlib.sha256()
        count = 0
        for planes in frame_planes(data, f"{video}, chunk {number}"):
            digest.update(planes)
            whole.update(planes)
            count += 1
        rows = {extension: array[start : start + count] for extension, array in arrays.items()}
        checksums = {"frames": digest.hexdigest()}
        checksums.update({extension.partition(".")[0]: array_sha256(array) for extension, array in rows.items()})
        chunk = Chunk(episode=episode, chunk=number, first_frame=start, num_frames=count, checksums=checksums)
        members = {VIDEO: data, RECORD: chunk.to_bytes()}
        members.update({extension: npy_bytes(array) for extension, array in rows.items()})
        yield Chunk.sample_key(key, number), members
        start += count
    if start != episode.num_frames:
        raise UserError(f"{video}: holds {start} frames, field num_frames says {episode.num_frames}: make it again")
    if whole.hexdigest() != episode.checksums.get("frames"):
        raise UserError(f"{video}: is not what was recorded (field checksums.frames): make the episode again")


def is_whole(shard: Shard, path: Path, episodes: list[Episode], chunk_frames: int) -> bool:
    """Whether the tar at `path` is the one that `shard` describes and holds just these episodes in such chunks."""
    if list(shard.episodes) != [episode.key for episode in episodes] or not path.is_file():
        return False
    if path.stat().st_size != shard.num_bytes or file_sha256(path) != shard.sha256:
        return False
    names = [
        Chunk.sample_key(episode.key, number)
        for episode in episodes
        for number in range(-(-episode.num_frames // chunk_frames))
    ]
    try:
        members = index_members(path)
        if list(members) != names:
            return False
        with path.open("rb") as file:
            for episode in episodes:
                offset, size = members[Chunk.sample_key(episode.key, 0)][RECORD]
                file.seek(offset)
                chunk = Chunk.parse(file.read(size), path)
                if chunk.episode != episode or chunk.num_frames != min(chunk_frames, episode.num_frames):
                    return False
    except UserError:
        return False
    return True
