"""Processes that share an evaluation: each shows that it lives, and one of them waits for what the others finish."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mstv.cli.runtime import Rank
from mstv.errors import UserError

SIGNS = ".ranks"
BEAT_SECONDS = 2.0
SILENCE_SECONDS = 120.0
"""A process that shows no sign for so long has died, or was never started."""


@contextmanager
def living(folder: Path, rank: Rank) -> Iterator[None]:
    """Touch a file of this process's in `folder` now and then; files are all that processes on several machines share.

    Nothing is done where there is one process.
    """
    if rank.count == 1:
        yield
        return
    path = folder / SIGNS / str(rank.index)
    ended = threading.Event()

    def beat() -> None:
        while True:
            with suppress(OSError):
                path.parent.mkdir(exist_ok=True)
                path.touch()
            if ended.wait(BEAT_SECONDS):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)
        with suppress(OSError):  # the last one removes the folder
            path.parent.rmdir()


def wait_for(
    folder: Path, owners: dict[str, int], finished: Callable[[str], bool], told: Callable[[Sequence[str]], None]
) -> None:
    """Return when all episodes are finished.

    Args:
        folder: the one given to `living`.
        owners: the index of the process that works on an episode, for each that is waited for.
        finished: whether an episode is.
        told: called now and then with the episodes that are left.

    Raises:
        UserError: the process that works on an episode shows no sign of life.
    """
    seen: dict[int, tuple[int, float]] = {}
    left = list(owners)
    while left := [key for key in left if not finished(key)]:
        told(left)
        now = time.monotonic()
        for index in sorted({owners[key] for key in left}):
            sign = _sign(folder / SIGNS / str(index))
            if index not in seen or seen[index][0] != sign:
                seen[index] = sign, now
            elif now - seen[index][1] > SILENCE_SECONDS and (
                missing := [key for key in left if owners[key] == index and not finished(key)]
            ):
                what = f"{missing[0]} and {len(missing) - 1} more are" if len(missing) > 1 else f"{missing[0]} is"
                raise UserError(
                    f"{folder}: no sign of life of rank {index} for {SILENCE_SECONDS:.0f} s, and {what} "
                    "not scored: start the same command on all ranks again, it resumes"
                )
        time.sleep(min(BEAT_SECONDS, SILENCE_SECONDS / 4))


def _sign(path: Path) -> int:
    """Changes while the process lives; 0 without a file. Clocks of machines are never compared."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
