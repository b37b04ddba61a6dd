"""An output folder: proven writable before work begins, and swept of half-written files after."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from mstv.errors import UserError

_TEMPORARY = re.compile(r"^\..+\.(\d+)\.tmp$")
"""Names that `atomic_path` gives; the number is the writing process."""


@contextlib.contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """Make `folder`, and leave no temporary file of a process that ended, before the work or after it failed.

    Raises:
        UserError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = "a file stands in its place" if isinstance(error, FileExistsError) else error.strerror
        raise UserError(f"{folder}: cannot be written ({reason}): choose another output folder") from None
    _sweep(folder)
    try:
        yield folder
    finally:
        _sweep(folder)


def _sweep(folder: Path) -> None:
    for name in os.listdir(folder):
        match = _TEMPORARY.match(name)
        if match and not _is_running(int(match[1])):
            (folder / name).unlink(missing_ok=True)


def _is_running(process: int) -> bool:
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
