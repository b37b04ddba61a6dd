"""Signals by which a scheduler takes a machine away: the training saves, stops, and under SLURM is queued again."""

import signal
import subprocess
import sys
import threading
from enum import IntEnum
from types import FrameType
from typing import Any

from lightning import Trainer
from lightning.fabric.plugins.environments import SLURMEnvironment


class Request(IntEnum):
    """What is to be done at the end of a step; ranks that want different things do the largest."""

    NOTHING = 0
    SAVE = 1
    STOP = 2
    REQUEUE = 3


class Preempted(Exception):
    """The training was asked to stop, and has saved."""

    def __init__(self, requeue: bool) -> None:
        super().__init__("stopped by a signal")
        self.requeue = requeue


class Preemption:
    """Notes SIGTERM and SIGUSR1 while a trainer runs; it takes the place of the trainer's own signal connector.

    Lightning's saves to another file, not atomically, inside the signal handler and on whichever ranks were signalled.

    Attributes:
        request: the largest request so far.
        received_sigterm: what Lightning asks; always false, since a stop is ours to make.
    """

    received_sigterm = False

    def __init__(self) -> None:
        self.request = Request.NOTHING
        self._before: dict[signal.Signals, Any] = {}

    def attach(self, trainer: Trainer) -> None:
        """Take the place of Lightning's connector, and of its exchange between ranks, which waits for the GPU."""
        trainer._signal_connector = self  # type: ignore[assignment]
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def register_signal_handlers(self) -> None:
        """Called by Lightning before it trains."""
        if threading.current_thread() is threading.main_thread():  # only there can signals be set
            for number in (signal.SIGTERM, signal.SIGUSR1):
                self._before[number] = signal.signal(number, self._note)

    def teardown(self) -> None:
        """Called by Lightning after it has trained."""
        while self._before:
            number, handler = self._before.popitem()
            # What comes after a stop was asked for has nothing to add, and must not disturb the tidying up.
            asked = self.request != Request.NOTHING
            signal.signal(number, signal.SIG_IGN if asked else handler or signal.SIG_DFL)

    def _note(self, number: int, frame: FrameType | None) -> None:
        wanted = Request.REQUEUE if number == signal.SIGUSR1 else Request.STOP
        self.request = max(self.request, wanted)


def requeue(is_first_rank: bool) -> bool:
    """Put this SLURM job into the queue again, by the first rank alone.

    Returns:
        whether there is such a job and SLURM, on the first rank, has taken it.
    """
    job = SLURMEnvironment.job_id() if SLURMEnvironment.detect() else None
    if job is None:
        return False
    if not is_first_rank:
        return True
    try:
        done = subprocess.run(["scontrol", "requeue", str(job)], capture_output=True, text=True, check=False)
        problem = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        problem = str(error)
    if problem:
        print(f"mstv: scontrol requeue {job} failed: {problem}", file=sys.stderr)
    return not problem
