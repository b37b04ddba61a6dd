"""Locks of folders that one process writes, or that the processes of one job share, each with parts of its own."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mstv.data.schema import HOST
from mstv.errors import UserError

LOCK = ".lock"
_BYTES = 128
"""Bytes of the lock file that stand for a part: who holds it locks them and writes its own name there."""


@contextlib.contextmanager
def held(folder: Path, fix: str, parts: Sequence[int] = (0,)) -> Iterator[None]:
    """Hold parts of `folder` alone; the system lets go of them when this process ends, however it ends.

    On a file system without locks nothing is held. The locks are this process's: they shut out other processes only.

    Args:
        folder: exists, or is made.
        fix: what to do, besides waiting, while another process writes there.
        parts: numbers whose meaning all processes agree on, such as positions of episodes.

    Raises:
        UserError: another process holds one of them, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder, fix, parts)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}): choose another folder") from None
    try:
        yield
    finally:
        # The last one removes the file, while nobody holds any of it.
        with contextlib.suppress(OSError):
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), (folder / LOCK).stat()):
                (folder / LOCK).unlink()
        os.close(lock)


def _locked(folder: Path, fix: str, parts: Sequence[int]) -> int:
    """Descriptor of the lock file with `parts` locked, where the file system can."""
    path = folder / LOCK
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        for part in parts:
            start = part * _BYTES
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, _BYTES, start)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    return lock  # a file system without locks
                holder = os.pread(lock, _BYTES, start).decode(errors="replace").strip(" \0") or "another process"
                os.close(lock)
                raise UserError(f"{folder}: {holder} writes there: wait for it, or {fix}") from None
            os.pwrite(lock, f"process {os.getpid()} on {HOST}"[:_BYTES].ljust(_BYTES).encode(), start)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        os.close(lock)  # the file was removed by who held it before
