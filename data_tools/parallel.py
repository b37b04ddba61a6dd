"""Independent tasks in worker processes, with results as they come and a progress bar."""

import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mstv.data.schema import HOST
from mstv.data.temporary_files import is_running
from mstv.errors import UserError

Result = TypeVar("Result")
_MOST_LOSSES = 3


def run_tasks(
    function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Result]]:
    """Yield (index of the task, result of `function(*task)`) in the order in which the tasks end.

    joblib runs them, so that `data_tools.cluster` moves them to a cluster; one worker runs them in this process.
    The first error ends the others and is raised. Where a worker process is killed, tasks that have not ended are
    begun again in new ones. Workers end with this process, however it ends.

    Raises:
        UserError: workers are killed again and again without ending a task.
    """
    left = set(range(len(tasks)))
    losses = 0
    while left:
        try:
            # After a loss a lone task keeps out of this process, which would be killed in its turn.
            count = max(min(workers, len(left)), 2 if losses else 1)
            for index, result in _run_once(function, [(index, tasks[index]) for index in sorted(left)], count):
                left.discard(index)
                losses = 0
                yield index, result
        except TerminatedWorkerError:
            losses += 1
            if losses > _MOST_LOSSES:
                raise UserError(
                    f"worker processes were killed {losses} times without ending anything, as a machine out of "
                    "memory does: use fewer --workers"
                ) from None


def _run_once(
    function: Callable[..., Result], tasks: list[tuple[int, tuple[Any, ...]]], count: int
) -> Iterator[tuple[int, Result]]:
    calls = [delayed(_numbered)((HOST, os.getpid()), function, index, task) for index, task in tasks]
    if get_active_backend()[0].supports_return_generator:
        with _interrupts_ignored():
            results = Parallel(n_jobs=count, return_as="generator_unordered", batch_size=1)(calls)
        with contextlib.closing(results):
            yield from results
    else:  # Ray's, which gives results only when all are there, and so gets few at a time
        with Parallel(n_jobs=count, batch_size=1) as parallel:
            for start in range(0, len(calls), count):
                yield from parallel(calls[start : start + count])


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C while the workers are started: they inherit that and keep it.

    Ctrl-C reaches the whole process group, and a worker that it meets anywhere, starting or between two tasks, prints
    a traceback. This process alone shall answer, and end them.
    """
    if threading.current_thread() is not threading.main_thread():  # only there can signals be set
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _numbered(
    owner: tuple[str, int], function: Callable[..., Result], index: int, task: tuple[Any, ...]
) -> tuple[int, Result]:
    host, process = owner
    if host == HOST and os.getpid() != process:
        if os.getppid() == process:
            _end_with(process)
        elif not is_running(process):  # it was gone before this worker took its first task
            os._exit(1)
    return index, function(*task)


@functools.cache
def _end_with(parent: int) -> None:
    """End this worker once the process that started it is gone: it would go on writing where another writes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Bar:
    """A progress bar on stderr: things done of all, frames a second, time gone and time left.

    Args:
        title: what is going on.
        total: number of things.
        unit: name of the things.
    """

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._frames = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(title, total=total, rate="")

    def skip(self, count: int) -> None:
        """So many things were done before."""
        self._progress.update(self._task, advance=count)

    def advance(self, num_frames: int) -> None:
        """One more thing is done, and `num_frames` frames with it."""
        self._frames += num_frames
        elapsed = self._progress.tasks[0].elapsed
        rate = f"{self._frames / elapsed:.0f} frames/s" if elapsed else ""
        self._progress.update(self._task, advance=1, rate=rate)

    def tell(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
