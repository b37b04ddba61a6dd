"""Episodes are held by one process each, for as long as it lives."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mstv.data.episode_locks import held_episodes
from mstv.data.schema import HOST
from mstv.errors import UserError

HOLD = """
import sys
from pathlib import Path
from mstv.data.episode_locks import held_episodes
with held_episodes(Path(sys.argv[1]), [int(position) for position in sys.argv[2:]]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process(folder: Path, *positions: int) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLD, str(folder), *map(str, positions)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process


def test_an_episode_has_one_writer(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with other_process(folder, 0, 2) as other:
        holder = f"process {other.pid} on {HOST} writes there: wait for it"
        with pytest.raises(UserError, match=holder), held_episodes(folder, [1, 2]):
            pass
        # Ranks of one job hold episodes of their own.
        with held_episodes(folder, [1, 3]):
            pass
        assert list(folder.iterdir()), "the other one still holds the file"
        with pytest.raises(UserError, match="writes there"), held_episodes(folder, [0]):
            pass
    with held_episodes(folder, [0, 1, 2, 3]):
        pass
    assert not list(folder.iterdir())


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with other_process(tmp_path, 0) as other:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        with held_episodes(tmp_path, [0]):
            pass


def test_folders_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), held_episodes(tmp_path / "file" / "a", [0]):
        pass
