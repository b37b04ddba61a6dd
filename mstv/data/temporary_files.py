"""Temporary files that killed processes left behind, told from those that are being written."""

import contextlib
import os
import re
import time
from pathlib import Path

from mstv.data.schema import HOST

_TEMPORARY = re.compile(r"^\..+\.([A-Za-z0-9_]+)-(\d+)\.tmp$")
"""Names that `mstv.data.schema.atomic_path` gives: the writing machine and process."""
_FORGOTTEN_SECONDS = 86400
"""Age from which another machine's temporary file is taken for left behind."""


def sweep(folder: Path) -> None:
    """Remove the temporary files in `folder` whose process has ended; no folder, nothing to do."""
    if not folder.is_dir():
        return
    for name in os.listdir(folder):
        match = _TEMPORARY.match(name)
        if match and not _in_use(folder / name, match[1], int(match[2])):
            (folder / name).unlink(missing_ok=True)


def _in_use(path: Path, host: str, process: int) -> bool:
    if host == HOST:
        return is_running(process)
    try:
        return time.time() - path.stat().st_mtime < _FORGOTTEN_SECONDS
    except FileNotFoundError:
        return False


def is_running(process: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A worker that was just stopped stays a zombie until it is waited for; it writes no more.
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
