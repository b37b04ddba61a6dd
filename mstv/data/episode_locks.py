"""Locks of episodes in a folder that the processes of one job share, each writing episodes of its own."""

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
"""An episode's part of the lock file: who holds it locks it and writes its own name there."""


@contextlib.contextmanager
def held_episodes(folder: Path, positions: Sequence[int]) -> Iterator[None]:
    """Hold episodes of `folder` alone; the system lets go of them when this process ends, however it ends.

    On a file system without locks nothing is held. The locks are this process's: they shut out other processes only.

    Args:
        folder: exists, or is made.
        positions: of the episodes, in an order that all processes agree on.

    Raises:
        UserError: another process holds one of them, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder, positions)
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


def _locked(folder: Path, positions: Sequence[int]) -> int:
    """Descriptor of the lock file with the parts of `positions` locked, where the file system can."""
    path = folder / LOCK
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        for position in positions:
            start = position * _BYTES
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, _BYTES, start)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    return lock  # a file system without locks
                holder = os.pread(lock, _BYTES, start).decode(errors="replace").strip(" \0") or "another process"
                os.close(lock)
                raise UserError(
                    f"{folder}: {holder} writes there: wait for it, or give another name with --protocol"
                ) from None
            os.pwrite(lock, f"process {os.getpid()} on {HOST}"[:_BYTES].ljust(_BYTES).encode(), start)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        os.close(lock)  # the file was removed by who held it before
