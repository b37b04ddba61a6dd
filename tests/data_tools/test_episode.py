"""Raw episodes: written whole or not at all, and read back."""

from pathlib import Path

import numpy as np
import pytest

from data_tools.episode import RawEpisodes, check_same, complete_episodes
from data_tools.episode_writer import EpisodeWriter, write_episode
from mstv.data.schema import ACTIONS, POSES, ActionSpec, Source, array_sha256
from mstv.data.video import decode_video, frames_sha256
from mstv.errors import UserError
from tests.data_tools.conftest import SPEC, moving_frames, tiny_episode

SOURCE = Source(engine="test", world="w")


def test_round_trip(tmp_path: Path) -> None:
    written = tiny_episode(tmp_path, "walk", "w", 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "walk.actions.npy",
        "walk.json",
        "walk.mp4",
        "walk.poses.npy",
    ]
    raw = RawEpisodes(tmp_path)
    assert raw.records == {"walk": written}
    assert (written.num_frames, written.height, written.width) == (20, 32, 48)
    actions, poses = raw.array("walk", ACTIONS), raw.array("walk", POSES)
    assert actions is not None and actions.dtype == np.int16 and actions[0] == -1
    assert poses is not None and poses.dtype == np.float32 and poses.shape == (20, 5)
    assert written.checksums == {
        "frames": frames_sha256(raw.video("walk"))[0],
        "actions": array_sha256(actions),
        "poses": array_sha256(poses),
    }
    assert len(decode_video(raw.video("walk"))) == 20


def test_frames_are_streamed(tmp_path: Path) -> None:
    """The writer asks for a frame only after it took the one before."""
    alive = 0

    def frames():  # type: ignore[no-untyped-def]
        nonlocal alive
        for number in range(30):
            alive = number
            yield np.full((8, 8, 3), number, np.uint8)

    with EpisodeWriter(tmp_path, "walk", 20.0, SOURCE) as writer:
        for number, frame in enumerate(frames()):
            writer.add(frame)
            assert alive == number
    assert writer.episode.num_frames == 30


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="crash"), EpisodeWriter(tmp_path, "walk", 20.0, SOURCE) as writer:
        writer.add(np.zeros((8, 8, 3), np.uint8))
        raise RuntimeError("crash")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("actions", "poses", "problem"),
    [
        (np.zeros(9, np.int16), None, "actions has 9 rows, but there are more frames"),
        (np.zeros(11, np.int16), None, "actions has 11 rows for 10 frames"),
        (np.full(10, 3, np.int16), None, "action ids must lie in -1..2"),
        (None, None, "0 actions for 10 frames"),
        (np.zeros(10, np.int16), np.zeros((9, 5), np.float32), "poses has 9 rows"),
    ],
)
def test_arrays_must_fit_the_frames(
    tmp_path: Path, actions: np.ndarray | None, poses: np.ndarray | None, problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        write_episode(tmp_path, "walk", moving_frames(10, 0), 20.0, SOURCE, actions, poses, SPEC)
    assert list(tmp_path.iterdir()) == []


def test_vector_actions_keep_their_floats(tmp_path: Path) -> None:
    spec = ActionSpec(kind="vector", names=("yaw", "pitch"), units=("degrees", "degrees"))
    actions = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)
    write_episode(tmp_path, "walk", moving_frames(10, 0), 20.0, SOURCE, actions, spec=spec)
    assert np.array_equal(RawEpisodes(tmp_path).array("walk", ACTIONS), actions)  # type: ignore[arg-type]


def test_only_complete_episodes_count(raw: Path) -> None:
    (raw / "walk-1.json").unlink()
    assert sorted(RawEpisodes(raw).records) == ["walk-0", "walk-2", "walk-3", "walk-4"]


def test_folders_without_episodes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        RawEpisodes(tmp_path / "absent")
    with pytest.raises(UserError, match="holds no complete episode"):
        RawEpisodes(tmp_path)
    (tmp_path / "walk.mp4").touch()
    with pytest.raises(UserError, match="holds no complete episode"):
        RawEpisodes(tmp_path)
    (tmp_path / "manifest.json").touch()
    with pytest.raises(UserError, match="set of shards"):
        complete_episodes(tmp_path)


def test_a_renamed_or_changed_file_is_told(raw: Path) -> None:
    np.save(raw / "walk-0.actions.npy", np.zeros(40, np.int16))
    with pytest.raises(UserError, match=r"walk-0\.actions\.npy: is not what was written"):
        RawEpisodes(raw).array("walk-0", ACTIONS)
    (raw / "walk-0.poses.npy").unlink()
    with pytest.raises(UserError, match=r"walk-0\.poses\.npy: cannot be read"):
        RawEpisodes(raw).array("walk-0", POSES)
    (raw / "walk-0.json").rename(raw / "other.json")
    with pytest.raises(UserError, match=r"other\.json: field key is walk-0"):
        RawEpisodes(raw)


def test_other_settings_are_named(raw: Path) -> None:
    episode = RawEpisodes(raw).records["walk-0"]
    check_same(raw, episode, {"num_frames": 40, "source.world": "a"})
    with pytest.raises(UserError, match=r"walk-0\.json: field source\.world is a, but b is asked for"):
        check_same(raw, episode, {"num_frames": 40, "source.world": "b"})
    with pytest.raises(UserError, match=r"field source\.settings\.x is None, but 3"):
        check_same(raw, episode, {"source.settings.x": 3})
