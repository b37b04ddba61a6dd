"""Independent tasks in worker processes, with results as they come and a progress bar."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Result = TypeVar("Result")


def run_tasks(
    function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Result]]:
    """Yield (index of the task, result of `function(*task)`) in the order in which the tasks end.

    joblib runs them, so that `joblib.parallel_config` moves them to a cluster; one worker runs them in this process.
    The first error ends the others and is raised.
    """
    with _interrupts_ignored():
        results = Parallel(n_jobs=max(1, min(workers, len(tasks))), return_as="generator_unordered", batch_size=1)(
            delayed(_numbered)(function, index, task) for index, task in enumerate(tasks)
        )
    with contextlib.closing(results):
        yield from results


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


def _numbered(function: Callable[..., Result], index: int, task: tuple[Any, ...]) -> tuple[int, Result]:
    return index, function(*task)


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

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
