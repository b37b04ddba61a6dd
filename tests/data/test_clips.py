"""Clips: the frames around the one that an action produced, and that action; each at most once an epoch."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mstv.data.clips import ClipBatch, ClipsDataModule, clip_frames
from mstv.data.schema import ACTIONS, MANIFEST, RECORD, VIDEO, ActionSpec, Chunk, Manifest, Shard
from mstv.data.shards import npy_bytes, write_shard
from mstv.data.video import encode_video
from mstv.errors import UserError
from tests.data.conftest import ACTION_SPECS, CHUNK_FRAMES, LEVELS, code_of, episode_of, image_of

LENGTHS = {"train-000000.tar": {"a": range(20), "b": range(20, 37)}, "validation-000000.tar": {"c": range(100, 117)}}


def action_of(code: int, kind: str) -> np.ndarray:
    """The action that produced the frame that shows `code`."""
    if kind == "discrete":
        return np.array(code % 4 - 1, np.int16)
    return np.array([code % 2, 10.0 * (code % 5) - 20], np.float32)


def write_clips(folder: Path, kind: str) -> Path:
    spec = ActionSpec(kind="vector", names=("jump", "turn"), units=("0/1", "degrees"))
    spec = spec if kind == "vector" else ACTION_SPECS[kind]
    described = []
    for name, episodes in LENGTHS.items():

        def samples(episodes: dict[str, range] = episodes) -> Iterator[tuple[str, dict[str, bytes]]]:
            for key, codes in episodes.items():
                record = episode_of(key, len(codes), spec)
                for chunk, first in enumerate(range(0, len(codes), CHUNK_FRAMES)):
                    part = codes[first : first + CHUNK_FRAMES]
                    path = folder / "chunk.mp4"
                    encode_video([image_of(code) for code in part], path, 20)
                    about = Chunk(episode=record, chunk=chunk, first_frame=first, num_frames=len(part), checksums={})
                    members = {VIDEO: path.read_bytes(), RECORD: about.to_bytes()}
                    if kind != "none":
                        members[ACTIONS] = npy_bytes(np.stack([action_of(code, kind) for code in part]))
                    yield Chunk.sample_key(key, chunk), members

        num_samples, num_bytes, sha256 = write_shard(folder / name, samples())
        lengths = {key: len(codes) for key, codes in episodes.items()}
        described.append(
            Shard(
                name=name,
                num_samples=num_samples,
                num_frames=sum(lengths.values()),
                num_bytes=num_bytes,
                sha256=sha256,
                episodes=lengths,
                worlds=tuple(episodes),
            )
        )
    size = {"image_size": LEVELS.image_size, "chunk_frames": CHUNK_FRAMES}
    Manifest(kind="frames", fps=20, actions=spec, shards=tuple(described), **size).write(folder / MANIFEST)
    return folder


def data_of(folder: Path, **options: int | None) -> ClipsDataModule:
    data = ClipsDataModule(folder, LEVELS, **{"batch_size": 3, "num_workers": 0, **options})  # type: ignore[arg-type]
    data.setup("fit")
    return data


def codes(batch: ClipBatch) -> list[list[int]]:
    return [[code_of(image.numpy()) for image in clip] for clip in batch.images]


def test_clips_hold_the_frames_before_and_after_and_never_leave_the_video() -> None:
    clips = clip_frames(np.array([1, 5, 7]), 4, 8)
    assert clips.tolist() == [[0, 0, 1, 2], [3, 4, 5, 6], [5, 6, 7, 7]]
    assert clip_frames(np.array([3]), 2, 8).tolist() == [[2, 3]]


@pytest.mark.parametrize("kind", ["discrete", "vector"])
def test_actions_are_those_that_produced_the_third_of_four_frames(tmp_path: Path, kind: str) -> None:
    stream = data_of(write_clips(tmp_path, kind), frames_per_chunk=8).training_stream(0, 1)
    seen: Counter[int] = Counter()
    for batch in stream.batches(0, 0, 1):
        assert batch.images.shape == (3, 4, 3, 16, 32)
        for shown, action in zip(codes(batch), batch.actions.numpy(), strict=True):
            frame = shown[2]
            assert np.array_equal(action, action_of(frame, kind))
            local = frame % 20 if frame < 20 else frame - 20
            first = local // CHUNK_FRAMES * CHUNK_FRAMES
            length = min(CHUNK_FRAMES, (20 if frame < 20 else 17) - first)
            expected = clip_frames(np.array([local - first]), 4, length)[0] + first + (0 if frame < 20 else 20)
            assert shown == expected.tolist()
            seen[frame] += 1
    # Chunks of 8, 8, 4 and 8, 8, 1 frames: all but their first.
    assert max(seen.values()) == 1 and len(seen) == 7 + 7 + 3 + 7 + 7 - (31 % 3)


def test_a_resume_draws_the_same_clips(tmp_path: Path) -> None:
    stream = data_of(write_clips(tmp_path, "discrete"), frames_per_chunk=4).training_stream(0, 1)
    whole = [codes(batch) for batch in stream.batches(1, 0, 1)]
    assert [codes(batch) for batch in stream.batches(1, 2, 1)] == whole[2:]


def test_validation_gives_whole_episodes(tmp_path: Path) -> None:
    stream = data_of(write_clips(tmp_path, "discrete"), validation_frames=None).validation_stream(0, 1)
    (batch,) = stream.batches(0, 0, 1)
    assert [shown[2] for shown in codes(batch)] == [code for code in range(100, 117) if (code - 100) % CHUNK_FRAMES]
    assert batch.weight == 1.0


def test_scale_is_the_root_mean_square_of_training(tmp_path: Path) -> None:
    data = data_of(write_clips(tmp_path, "vector"))
    true = np.stack([action_of(code, "vector") for code in range(37)])
    assert data.action_scale == pytest.approx(np.sqrt((true**2).mean(0)))
    assert data.action_units == ("0/1", "degrees")


def test_sets_without_actions_and_odd_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no actions"):
        data_of(write_clips(tmp_path, "none"))
    with pytest.raises(UserError, match="even"):
        ClipsDataModule(tmp_path, LEVELS, clip_frames=3)
