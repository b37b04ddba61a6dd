"""Temporary files of processes that ended go, those of others stay."""

import os
import subprocess
import sys
import time
from pathlib import Path

from mstv.data.schema import HOST
from mstv.data.temporary_files import is_running, sweep


def test_only_what_is_left_behind_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    assert ended.wait() == 0 and not is_running(ended.pid) and is_running(os.getpid())
    left = tmp_path / f".a.mp4.{HOST}-{ended.pid}.tmp"
    forgotten = tmp_path / ".a.mp4.elsewhere-7.tmp"
    stays = [
        tmp_path / f".a.mp4.{HOST}-{os.getpid()}.tmp",
        tmp_path / ".b.mp4.elsewhere-7.tmp",
        tmp_path / "a.mp4",
        tmp_path / ".a.npy.partial",
    ]
    for path in (left, forgotten, *stays):
        path.touch()
    os.utime(forgotten, (time.time() - 2 * 86400,) * 2)
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(stays)
    sweep(tmp_path / "absent")
