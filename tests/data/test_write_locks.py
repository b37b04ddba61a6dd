"""Folders, and parts of them, are held by one process each, for as long as it lives."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mstv.data.schema import HOST
from mstv.data.write_locks import held
from mstv.errors import UserError

FIX = "choose another folder"
HOLD = """
import sys
from pathlib import Path
from mstv.data.write_locks import held
with held(Path(sys.argv[1]), "", [int(part) for part in sys.argv[2:]]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process(folder: Path, *parts: int) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLD, str(folder), *map(str, parts)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process


def test_a_part_has_one_writer(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with other_process(folder, 0, 2) as other:
        holder = f"process {other.pid} on {HOST} writes there: wait for it, or {FIX}$"
        with pytest.raises(UserError, match=holder), held(folder, FIX, [1, 2]):
            pass
        # Ranks of one job hold episodes of their own.
        with held(folder, FIX, [1, 3]):
            pass
        assert list(folder.iterdir()), "the other one still holds the file"
        with pytest.raises(UserError, match="writes there"), held(folder, FIX):
            pass
    with held(folder, FIX, [0, 1, 2, 3]):
        pass
    assert not list(folder.iterdir())


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with other_process(tmp_path, 0) as other:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        with held(tmp_path, FIX):
            pass


def test_folders_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), held(tmp_path / "file" / "a", FIX):
        pass
