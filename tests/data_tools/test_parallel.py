"""Tasks in worker processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_tools.parallel import run_tasks
from mstv.data.schema import atomic_path
from mstv.errors import UserError


def _ignores_interrupts(_: int) -> bool:
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_workers_leave_ctrl_c_to_the_process_that_started_them() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the session itself ignores it
    try:
        assert dict(run_tasks(_ignores_interrupts, [(0,), (1,), (2,)], workers=2)) == dict.fromkeys(range(3), True)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def _killed_once(mark: Path) -> int:
    """Kill the worker when this is called for the first time."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def test_a_killed_worker_costs_no_task(tmp_path: Path) -> None:
    tasks = [(tmp_path / name,) for name in "abc"]
    results = dict(run_tasks(_killed_once, tasks, workers=2))
    assert sorted(results) == [0, 1, 2] and os.getpid() not in results.values()


def _killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_that_are_always_killed_end_in_an_error() -> None:
    with pytest.raises(UserError, match="were killed 4 times"):
        list(run_tasks(_killed, [(0,), (1,)], workers=2))


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tests.data_tools.test_parallel import _sleeps\n"
        "from data_tools.parallel import run_tasks\n"
        "list(run_tasks(_sleeps, [(Path(sys.argv[1]), n) for n in range(2)], 2))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    workers = [_read(tmp_path / str(number)) for number in range(2)]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _sleeps(folder: Path, number: int) -> None:
    with atomic_path(folder / str(number)) as temporary:
        temporary.write_text(str(os.getpid()))
    time.sleep(600)


def _read(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(path.read_text())


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_is_raised(workers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_tasks(divmod, [(1, 1), (1, 0)], workers))
