"""Engines that hang, crash, are killed or cannot be started: what is said, and that nothing is left behind."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_tools.engine import Engine, EngineSettings, find_engine
from data_tools.engine_process import EngineFailure, EngineProcess
from mstv.errors import UserError

STAND_INS = Path(__file__).parent / "engines" / "stand_ins"


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(STAND_INS))


def settings(name: str, **changes: object) -> EngineSettings:
    return EngineSettings(find_engine(f"gym:odd_envs:{name}-v0"), size=(32, 32), **changes)


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout
    return state.strip()[:1] not in ("", "Z")


def gone(processes: list[int], seconds: float) -> bool:
    """Whether all of them end within so many seconds."""
    end = time.monotonic() + seconds
    while any(alive(process) for process in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_an_engine_that_hangs_fails_in_time_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    note = tmp_path / "processes"
    asked = settings("Hangs", step_seconds=1.5, options=(("note", str(note)),))
    with pytest.raises(EngineFailure, match=r"no answer to step in 1\.5 s"), EngineProcess(asked) as engine:
        engine.reset(0, 0)
        processes = [int(number) for number in note.read_text().split()]
        assert len(processes) == 4 and all(alive(process) for process in processes)
        start = time.monotonic()
        engine.step(0)
    assert time.monotonic() - start < 4
    assert gone(processes, 1)


def test_an_engine_that_crashes_leaves_its_last_words() -> None:
    with EngineProcess(settings("Exits")) as engine:
        engine.reset(0, 0)
        start = time.monotonic()
        with pytest.raises(EngineFailure, match=r"ended \(7\): .*first line \| out of memory on the card"):
            engine.step(0)
        # Long before the watchdog, though a child of it still holds the pipe.
        assert time.monotonic() - start < 5


def test_an_engine_killed_in_an_episode_is_a_failure() -> None:
    with EngineProcess(settings("Shown")) as engine:
        engine.reset(0, 0)
        engine.step(0)
        os.kill(engine.process_id, signal.SIGKILL)
        with pytest.raises(EngineFailure, match=r"ended \(-9\)"):
            for _ in range(2):
                engine.step(0)


@pytest.mark.parametrize("hangs", [False, True])
def test_an_engine_ends_with_the_process_that_started_it(tmp_path: Path, hangs: bool) -> None:
    note = tmp_path / "processes"
    host = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from data_tools.engine import EngineSettings, find_engine\n"
            "from data_tools.engine_process import EngineProcess\n"
            "engine = find_engine('gym:odd_envs:Hangs-v0')\n"
            f"with EngineProcess(EngineSettings(engine, (32, 32), options=(('note', {str(note)!r}),))) as engine:\n"
            "    engine.reset(0, 0)\n"
            "    print('ready', flush=True)\n"
            f"    {'engine.step(0)' if hangs else 'time.sleep(1000)'}\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    with host:
        assert host.stdout is not None and host.stdout.readline() == "ready\n"
        if hangs:
            time.sleep(0.5)
        processes = [int(number) for number in note.read_text().split()]
        assert all(alive(process) for process in processes)
        host.kill()
        assert gone(processes, 3)


def test_ctrl_c_does_not_reach_an_engine() -> None:
    with EngineProcess(settings("Shown")) as engine:
        engine.reset(0, 0)
        assert os.getpgid(engine.process_id) == engine.process_id != os.getpgrp()
        os.kill(engine.process_id, signal.SIGINT)
        assert engine.step(1).frame[0, 0].tolist() == [1, 0, 1]


def test_an_engine_that_cannot_be_had_is_the_users_to_mend(tmp_path: Path) -> None:
    for engine, message in [
        (find_engine("gym:Nowhere-v0"), "Nowhere"),
        (find_engine("gym:no_such_package:Nowhere-v0"), r"No module named 'no_such_package'.*install the package"),
        (Engine("minerl", "minerl", "MineRLNowhere-v0", own_python=True), "No registered env.*MineRLNowhere-v0"),
        (
            Engine("other", "gymnasium", "Any-v0", ("no_such_package",), advice="make one"),
            "'no_such_package'.: make one",
        ),
    ]:
        with pytest.raises(UserError, match=message):
            EngineProcess(EngineSettings(engine, (32, 32)))
    with pytest.raises(UserError, match=r"a python cannot be started .*--engine-python"):
        EngineProcess(settings("Shown", python=str(tmp_path / "a python")))


def test_a_program_that_is_no_python_is_a_failure_told_in_one_line() -> None:
    with pytest.raises((EngineFailure, UserError), match="engine gym:odd_envs:Shown-v0: ") as caught:
        EngineProcess(settings("Shown", python="/bin/true"))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_fifty_engines_leave_no_descriptor_open() -> None:
    def descriptors() -> int:
        gc.collect()  # what other tests left open and unreachable would be closed at any moment
        return len(os.listdir("/proc/self/fd"))

    with EngineProcess(settings("Shown")):
        pass
    before = descriptors()
    for number in range(50):
        with (
            contextlib.suppress(UserError, EngineFailure),
            EngineProcess(settings(("Shown", "Nowhere")[number % 2])) as engine,
        ):
            engine.reset(0, 0)
    assert descriptors() <= before
