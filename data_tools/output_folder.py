"""An output folder: proven writable, used by one command at a time, and swept of half-written files."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mstv.data.schema import HOST
from mstv.data.temporary_files import sweep
from mstv.errors import UserError

_LOCK = ".lock"


@contextlib.contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """Make `folder` and hold it alone; leave no temporary file of a process that ended, before the work or after it.

    The system lets go of the folder when this process ends, however it ends.

    Raises:
        UserError: the folder cannot be made or written, or another command writes there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _held(folder)
    except OSError as error:
        reason = "a file stands in its place" if isinstance(error, FileExistsError) else error.strerror
        raise UserError(f"{folder}: cannot be written ({reason}): choose another output folder") from None
    try:
        sweep(folder)
        yield folder
    finally:
        sweep(folder)
        # Removed while it is held, so that nobody is shut out by a file that somebody else removes.
        (folder / _LOCK).unlink(missing_ok=True)
        os.close(lock)


def _held(folder: Path) -> int:
    """Descriptor of the folder's lock file, locked where the file system can."""
    path = folder / _LOCK
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 200).decode(errors="replace").strip() or "another process"
            os.close(lock)
            raise UserError(f"{folder}: {holder} writes there: wait for it, or choose another output folder") from None
        except OSError:  # a file system without locks; episodes and tars are whole all the same
            return lock
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), path.stat()):
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"process {os.getpid()} on {HOST}\n".encode(), 0)
                return lock
        os.close(lock)  # the file was removed by who held it before


@contextlib.contextmanager
def committing(folder: Path) -> Iterator[None]:
    """Be the only process that renames files of one artefact into `folder`, for the moment that it takes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
