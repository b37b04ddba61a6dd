"""Recording with engines that crash, hang or end; the campaign manifest; clusters."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_tools.campaign import Campaign
from data_tools.cli import main
from data_tools.episode import RawEpisodes, complete_episodes
from mstv.data.schema import ACTIONS, CAMPAIGN
from mstv.data.video import decode_video

COUNTING = ["--engine", "gym:tests.data_tools.stand_in_envs:Counting-v0", "--policy", "uniform"]
TINY = ["record", *COUNTING, "--size", "16x32", "--frames", "24", "--workers", "1"]


@pytest.mark.parametrize("trouble", ["crash", "hang"])
def test_an_engine_that_fails_is_restarted(trouble: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    marks, raw = tmp_path / "marks", tmp_path / "raw"
    marks.mkdir()
    options = ["--engine-option", f"trouble={trouble}", "--engine-option", f"marks={marks}", "--step-seconds", "3"]
    assert main([*TINY, *options, "--episodes", "2", "--out", str(raw)]) == 0
    assert len(complete_episodes(raw)) == 2 and len(list(marks.iterdir())) == 1
    reason = "ended (3)" if trouble == "crash" else "no answer to step in 3 s"
    (session,) = Campaign.read(raw / CAMPAIGN).sessions
    assert session.outcome == "finished" and session.recorded == 2
    assert len(session.engine_failures) == 1 and reason in session.engine_failures[0]
    assert reason in capfd.readouterr().err


def test_an_engine_that_always_fails_ends_the_campaign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marks, raw = tmp_path / "marks", tmp_path / "raw"
    marks.mkdir()
    options = ["--engine-option", "trouble=crash", "--engine-option", f"marks={marks}", "--engine-option", "times=99"]
    assert main([*TINY, *options, "--retries", "2", "--out", str(raw)]) == 2
    told = capsys.readouterr().err
    assert "ended (3): 3 times in a row; run `mstv-data doctor`" in told
    (session,) = Campaign.read(raw / CAMPAIGN).sessions
    assert session.outcome == "failed" and session.error is not None and session.error in told
    assert [path.name for path in raw.iterdir()] == [CAMPAIGN]


def test_any_gymnasium_environment(tmp_path: Path) -> None:
    assert main([*TINY, "--episodes", "1", "--out", str(tmp_path)]) == 0
    raw = RawEpisodes(tmp_path)
    ((key, episode),) = raw.records.items()
    assert episode.fps == 10 and episode.source.engine == COUNTING[1]
    assert episode.actions.kind == "discrete" and episode.actions.size == 3
    frames, actions = decode_video(raw.video(key)), raw.array(key, ACTIONS)
    assert frames.shape == (24, 16, 32, 3) and actions is not None and actions[0] == -1
    assert np.allclose(frames.mean((1, 2, 3)), 5 * np.arange(24), atol=2)


def test_an_episode_that_ends_early(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = [*TINY, "--engine-option", "length=12", "--episodes", "1", "--out", str(tmp_path)]
    assert main(short) == 2
    assert "ended the episode after 13 frames: choose --min-frames 13 or less" in capsys.readouterr().err
    assert main([*short, "--min-frames", "14"]) == 2
    assert main([*short, "--min-frames", "13"]) == 0
    assert [episode.num_frames for episode in complete_episodes(tmp_path).values()] == [13]
    assert main([*short, "--min-frames", "13"]) == 0
    assert "recorded 0 episodes of up to 24 frames (1 were there already)" in capsys.readouterr().out


def test_the_manifest_keeps_all_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mstv-data", "record", "--seed", "a b"])
    for episodes in ("1", "3", "3"):
        assert main([*TINY, "--episodes", episodes, "--out", str(tmp_path)]) == 0
    campaign = Campaign.read(tmp_path / CAMPAIGN)
    assert (campaign.engine, campaign.policy, campaign.num_episodes) == (COUNTING[1], "uniform", 3)
    assert [session.recorded for session in campaign.sessions] == [1, 2]  # the third had nothing to do
    session = campaign.sessions[0]
    assert session.ended is not None and session.started <= session.ended
    assert session.user and session.host and session.command == "mstv-data record --seed 'a b'"
    assert {"mstv", "python", "av", "gymnasium"} <= set(session.versions)


def test_other_options_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*TINY, "--episodes", "1", "--out", str(tmp_path)]
    assert main([*command, "--engine-option", "length=40"]) == 0
    (episode,) = complete_episodes(tmp_path).values()
    assert episode.source.settings == {"action_mode": "discrete", "option length": 40}
    assert main([*command, "--engine-option", "length=41"]) == 2
    assert "field source.settings is" in capsys.readouterr().err


def test_episodes_of_another_engine_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--episodes", "1", "--out", str(tmp_path)]) == 0
    before = (tmp_path / CAMPAIGN).read_bytes()
    assert main(["record", "--size", "16x32", "--frames", "24", "--workers", "1", "--out", str(tmp_path)]) == 2
    assert "but blockworld is asked for" in capsys.readouterr().err
    assert (tmp_path / CAMPAIGN).read_bytes() == before


def test_a_pose_of_another_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--engine-option", "pose=3", "--out", str(tmp_path)]) == 2
    assert 'info["pose"] has the shape (3,): give x, y, z' in capsys.readouterr().err


def test_an_error_in_the_engine_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--engine-option", "trouble=raise", "--engine-option", f"marks={tmp_path}", "--retries", "0"]
    assert main([*TINY, *options, "--engine-option", "times=9", "--out", str(tmp_path / "raw")]) == 2
    told = capsys.readouterr().err
    assert "RuntimeError: my game broke (" in told and "stand_in_envs.py:" in told and "--step-seconds" not in told


def test_a_request_to_end_is_answered_as_ctrl_c_is(tmp_path: Path) -> None:
    code = "import sys; from data_tools.cli import main; sys.exit(main())"
    command = ["record", "--size", "32", "--frames", "4000", "--workers", "2", "--out", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-c", code, *command], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".blockworld-*.tmp")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143 and "resume with: mstv-data record" in told and "Traceback" not in told
    assert [path.name for path in tmp_path.iterdir()] == [CAMPAIGN]
    assert Campaign.read(tmp_path / CAMPAIGN).sessions[0].outcome == "interrupted"


def test_two_recorders_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from data_tools.output_folder import output_folder

    with output_folder(tmp_path):
        assert main([*TINY, "--out", str(tmp_path)]) == 2
    assert "writes there: wait for it, or choose another output folder" in capsys.readouterr().err
    assert main([*TINY, "--episodes", "1", "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--engine", "quake"], "engine 'quake': choose from blockworld, luanti"),
        (["--engine", "gym:Nothing-v0"], "engine gym:Nothing-v0: Environment `Nothing` doesn't exist"),
        (["--engine-python", "/nowhere/python"], "/nowhere/python cannot be started"),
        (["--policy", "loopwalk"], "policy loopwalk: speaks no discrete actions with the names action_0"),
        (["--engine-option", "speed"], "'speed': give NAME=VALUE"),
        (["--out", ""], "the path is empty: give a folder"),
        (["--engine-option", "speed=3"], "unexpected keyword argument 'speed'"),
        (["--min-frames", "25"], "--min-frames 25: is more than --frames 24"),
        (["--cluster-address", "here:1"], "--cluster-address: names no kind of cluster"),
        (["--step-seconds", "0"], "'0' is no duration"),
    ],
)
def test_what_is_refused(options: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main([*TINY, "--out", str(tmp_path / "raw"), *options])
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr().err
    assert code == 2 and problem in told and "Traceback" not in told
    assert not list((tmp_path / "raw").glob("*"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the clusters' own
@pytest.mark.parametrize("cluster", ["dask", "ray"])
def test_a_cluster_records_the_same_bytes(cluster: str, tmp_path: Path) -> None:
    pytest.importorskip({"dask": "distributed", "ray": "ray"}[cluster], reason=f"pip install 'mstv[{cluster}]'")
    command = ["record", "--size", "32", "--frames", "40", "--episodes", "5", "--workers", "2"]
    assert main([*command, "--cluster", cluster, "--out", str(tmp_path / "there")]) == 0
    assert main([*command, "--out", str(tmp_path / "here")]) == 0
    there, here = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.name != CAMPAIGN}
        for name in ("there", "here")
    )
    assert there == here and len(here) == 20
    (session,) = Campaign.read(tmp_path / "there" / CAMPAIGN).sessions
    assert session.cluster == cluster
