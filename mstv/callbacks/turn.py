"""One turn of a rollout during training: the seconds that it may take, and parts of it that fail."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TooDear(Exception):
    """There is not enough time for a turn that is expected to take `seconds`, or took them already."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"takes about {seconds:.1f} s")
        self.seconds = seconds


class Stopped(Exception):
    """The training is asked to stop."""


class Turn:
    """Watches a turn while it goes on, so that it ends as soon as it turns out to take more than there is time for.

    A turn consists of stages of equal pieces, whose first ones say how long the rest will take. So an overrun is at
    most a few pieces of a stage that nothing was known of before.

    Args:
        seconds: that the turn may take, all its work counted.
        is_stopping: whether the training is asked to stop.
    """

    def __init__(self, seconds: float, is_stopping: Callable[[], bool] = lambda: False) -> None:
        self._seconds, self._is_stopping = seconds, is_stopping
        self._began = time.perf_counter()
        self.stage(1)

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._began

    def allows(self, seconds: float) -> bool:
        """Whether there is time for so much more."""
        return self.spent + seconds <= self._seconds

    def stage(self, pieces: int, enough: int = 2, afterwards: float = 0.0) -> None:
        """Begin a stage.

        Args:
            pieces: of about the same work.
            enough: pieces that tell how long the others take; the first of a kind is often slow, and taken for itself.
            afterwards: seconds that are known to be needed after this stage.
        """
        self._pieces, self._enough, self._afterwards = pieces, min(enough, pieces), afterwards
        self._done, self._before = 0, self.spent
        self._slow = (0, 0.0)

    def advance(self, pieces: int = 1) -> None:
        """Count pieces of the stage that were done.

        Raises:
            TooDear: the turn takes longer than it may, or will.
            Stopped: the training is asked to stop.
        """
        if self._is_stopping():
            raise Stopped
        self._done += pieces
        spent = self.spent
        seconds = spent - self._before
        if self._done == pieces < self._pieces:
            self._slow = (pieces, seconds)
            rate = seconds / pieces
        else:
            slow, slow_seconds = self._slow
            rate = (seconds - slow_seconds) / (self._done - slow)
        expected = spent + rate * (self._pieces - self._done) + self._afterwards
        if spent > self._seconds or (self._done >= self._enough and expected > self._seconds):
            raise TooDear(max(expected, spent))


class Problems:
    """What failed in a turn whose other parts are to go on: a logger that is not reached, a disk that is full."""

    def __init__(self) -> None:
        self.found: list[str] = []

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Note what goes wrong in a part of the turn, and go on after it."""
        try:
            yield
        except (TooDear, Stopped):
            raise
        except Exception as error:
            text = f"{part}: {str(error) or type(error).__name__}"
            if text not in self.found:
                self.found.append(text)
