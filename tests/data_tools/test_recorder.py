"""`mstv-data record` with BlockWorld: alignment, determinism, resuming, and what it refuses."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_tools import policies
from data_tools.cli import main
from data_tools.engine import EngineSettings, find_engine
from data_tools.engine_process import EngineProcess
from data_tools.episode import RawEpisodes
from data_tools.recording import Recording
from mstv.data.schema import ACTIONS, CAMPAIGN, POSES
from mstv.data.video import decode_video

TINY = ["record", "--size", "32", "--frames", "60", "--workers", "1"]
COMMAND = [sys.executable, "-c", "import sys; from data_tools.cli import main; sys.exit(main())"]


BLOCKWORLD = EngineSettings(find_engine("blockworld"), (32, 32))


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the campaign manifest, which tells when they were made."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != CAMPAIGN}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "raw"
    assert main([*TINY, "--episodes", "3", "--out", str(folder)]) == 0
    return folder


def test_records_what_was_asked(recorded: Path) -> None:
    raw = RawEpisodes(recorded)
    assert list(raw.records) == ["blockworld-000000", "blockworld-000001", "blockworld-000002"]
    for key, episode in raw.records.items():
        assert (episode.num_frames, episode.height, episode.width, episode.fps) == (60, 32, 32, 20)
        assert (episode.source.engine, episode.source.policy) == ("blockworld", "loopwalk")
        assert episode.actions.names == ("forward", "turn_left", "turn_right")
        assert decode_video(raw.video(key)).shape == (60, 32, 32, 3)
    assert len({episode.source.world for episode in raw.records.values()}) == 3
    assert len(contents(recorded)) == 12  # nothing but the four files of each


def test_frame_0_has_the_null_action(recorded: Path) -> None:
    raw = RawEpisodes(recorded)
    for key in raw.records:
        actions = raw.array(key, ACTIONS)
        assert actions is not None and actions[0] == -1 and (actions[1:] >= 0).all()


@pytest.mark.parametrize(("shift", "agrees"), [(0, True), (1, False), (-1, False)])
def test_actions_agree_with_the_poses_at_no_shift_only(recorded: Path, shift: int, agrees: bool) -> None:
    """The step from pose t - 1 to pose t is what `actions[t]` says; forwards against a wall stand still."""
    raw = RawEpisodes(recorded)
    fits = []
    for key in raw.records:
        actions, poses = raw.array(key, ACTIONS), raw.array(key, POSES)
        assert actions is not None and poses is not None
        turned = (np.diff(poses[:, 3]) + 180) % 360 - 180
        moved = np.linalg.norm(np.diff(poses[:, [0, 2]], axis=0), axis=1)
        told = np.roll(actions, -shift)[1:]
        expected_turn = np.array([0, -10, 10])[told]
        inside = slice(2, -2)  # the rolled ends say nothing
        turns_fit = np.allclose(turned[inside], expected_turn[inside], atol=0.01)
        moves_fit = (told[inside][moved[inside] > 0.01] == 0).all()
        fits.append((turns_fit, moves_fit))
    assert np.all(fits, axis=0).tolist() == [agrees, agrees]


@pytest.mark.parametrize(("shift", "smallest"), [(0, True), (1, False), (-1, False)])
def test_frames_are_those_that_their_actions_produced(recorded: Path, shift: int, smallest: bool) -> None:
    """Walking again with the recorded actions shows the recorded frames."""
    raw = RawEpisodes(recorded)
    key = "blockworld-000001"
    actions, frames = raw.array(key, ACTIONS), decode_video(raw.video(key)).astype(float)
    assert actions is not None
    source = raw.records[key].source
    assert source.seed is not None
    with EngineProcess(BLOCKWORLD) as engine:
        shown = [engine.reset(source.seed, int(source.world.partition("-")[2])).frame]
        shown += [engine.step(action).frame for action in actions[1:]]
    error = np.abs(np.roll(np.stack(shown).astype(float), shift, 0) - frames)[2:-2].mean()
    closest = np.abs(np.stack(shown) - frames)[2:-2].mean()
    assert (error <= closest) == smallest


def test_any_number_of_workers_gives_the_same_bytes_and_grows(recorded: Path, tmp_path: Path) -> None:
    command = ["record", "--size", "32", "--frames", "60", "--out", str(tmp_path / "raw")]
    assert main([*command, "--workers", "1", "--episodes", "1"]) == 0
    first = (tmp_path / "raw" / "blockworld-000000.mp4").stat().st_mtime_ns
    assert main([*command, "--workers", "2", "--episodes", "3"]) == 0
    assert contents(tmp_path / "raw") == contents(recorded)
    assert (tmp_path / "raw" / "blockworld-000000.mp4").stat().st_mtime_ns == first


def test_worlds_are_cycled_and_walks_are_not(tmp_path: Path) -> None:
    recording = Recording(BLOCKWORLD, "loopwalk", 8, num_worlds=2)
    worlds = [recording.world(index) for index in range(6)]
    assert worlds == worlds[:2] * 3 and worlds[0] != worlds[1]
    assert len({recording.episode_seed(index) for index in range(6)}) == 6


def test_an_arena_is_walked_in_whole_blocks_and_quarter_turns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ["--engine-option", "arena=3", "--engine-option", "frames_per_action=1"]
    command = [*TINY, *engine, "--episodes", "1", "--out", str(tmp_path)]
    assert main([*command, "--hold", "1"]) == 0
    raw = RawEpisodes(tmp_path)
    actions, poses = raw.array("blockworld-000000", ACTIONS), raw.array("blockworld-000000", POSES)
    assert actions is not None and poses is not None
    policy = policies.LoopWalk(hold=1)
    seed = raw.records["blockworld-000000"].source.seed
    policy.reset(np.random.default_rng(seed))
    assert actions[1:].tolist() == [policy.act() for _ in range(59)]
    turned, moved = (np.diff(poses[:, 3]) + 180) % 360 - 180, np.diff(poses[:, [0, 2]], axis=0)
    assert (np.abs(turned) == np.where(actions[1:] == 0, 0, 90)).all()
    assert set(np.abs(moved).sum(1)) == {0.0, 1.0} and len(np.unique(poses, axis=0)) <= 36
    assert main([*command, "--hold", "2"]) == 2
    assert "field source.settings is" in capsys.readouterr().err
    assert main([*TINY, "--policy", "random", "--hold", "2", "--out", str(tmp_path / "other")]) == 2
    assert "leave --hold out" in capsys.readouterr().err


def test_vector_actions(tmp_path: Path) -> None:
    options = ["--policy", "random", "--action-mode", "vector", "--episodes", "1", "--out", str(tmp_path)]
    assert main([*TINY, *options]) == 0
    raw = RawEpisodes(tmp_path)
    actions, poses = raw.array("blockworld-000000", ACTIONS), raw.array("blockworld-000000", POSES)
    assert actions is not None and poses is not None and actions.dtype == np.float32
    yaw = raw.records["blockworld-000000"].actions.names.index("yaw_degrees")
    assert raw.records["blockworld-000000"].actions.units[yaw] == "degrees"
    turned = (np.diff(poses[:, 3]) + 180) % 360 - 180
    assert np.abs(turned - actions[1:, yaw]).max() < 0.01
    assert not actions[0].any()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--seed", "1"], "source.seed"),
        (["--frames", "61"], "num_frames"),
        (["--size", "32x64"], "width"),
        (["--policy", "random"], "source.policy"),
        (["--fps", "10"], "fps"),
    ],
)
def test_episodes_of_other_settings_are_refused_before_recording(
    recorded: Path, options: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(recorded)
    assert main([*TINY, "--episodes", "5", "--out", str(recorded), *options]) == 2
    assert f"blockworld-000000.json: field {field} is" in capsys.readouterr().err
    assert contents(recorded) == before


def test_a_policy_that_does_not_speak_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--action-mode", "vector", "--out", str(tmp_path)]) == 2
    assert "policy loopwalk: speaks no vector actions" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["file", "/proc/mstv", "file/below"])
def test_unwritable_output(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main([*TINY, "--out", str(tmp_path / place)]) == 2
    assert "choose another output folder" in capsys.readouterr().err


def test_an_interruption_in_this_process_leaves_whole_episodes(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = policies.POLICIES["loopwalk"]
    calls = 0

    class Interrupted(policy):  # type: ignore[misc, valid-type]
        def act(self, info=None):  # type: ignore[no-untyped-def]
            nonlocal calls
            calls += 1
            if calls == 90:  # in the middle of the second episode
                raise KeyboardInterrupt
            return super().act(info)

    command = [*TINY, "--episodes", "3", "--out", str(tmp_path / "raw")]
    with monkeypatch.context() as patch:
        patch.setitem(policies.POLICIES, "loopwalk", Interrupted)
        assert main(command) == 130
    assert "resume with: mstv-data record" in capsys.readouterr().err
    assert len(contents(tmp_path / "raw")) == 4
    assert main(command) == 0
    assert contents(tmp_path / "raw") == contents(recorded)


def _started(folder: Path, *options: str) -> subprocess.Popen[str]:
    """`mstv-data record` in a process group of its own, once it has finished an episode and is in others."""
    process = subprocess.Popen(
        [*COMMAND, "record", "--size", "32", "--frames", "400", "--episodes", "6", "--out", str(folder), *options],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the session runs in the background, SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob("blockworld-*.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return process


@pytest.mark.slow
def test_a_killed_recording_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    process = _started(tmp_path / "raw", "--workers", "1")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = len(list((tmp_path / "raw").glob("blockworld-*.json")))
    assert 0 < done < 6
    command = ["record", "--size", "32", "--frames", "400", "--episodes", "6", "--workers", "1", "--out"]
    assert main([*command, str(tmp_path / "raw")]) == 0
    assert main([*command, str(tmp_path / "whole")]) == 0
    assert contents(tmp_path / "raw") == contents(tmp_path / "whole")


def test_ctrl_c_stops_workers_cleanly(tmp_path: Path) -> None:
    process = _started(tmp_path / "raw", "--workers", "2")
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "resume with: mstv-data record" in told and "Traceback" not in told
    raw = RawEpisodes(tmp_path / "raw")
    assert len(contents(tmp_path / "raw")) == 4 * len(raw.records)
