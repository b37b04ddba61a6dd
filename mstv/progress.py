"""The progress bar of every long command: done of total, rate and time left; a line now and then where no bar fits."""

import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

FIRST_LINE_SECONDS, LINE_SECONDS = 5.0, 30.0
"""When stderr is no terminal: the time to the first line, and from one to the next."""
REFRESHES = 2
"""Times a second that a bar is drawn, at about 2 ms of a core each: rich's own 10 would cost a training 2 % of one."""


class _Rate(ProgressColumn):
    """Units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {self.unit}/s" if speed else self.unit)


class Bar(Progress):
    """A bar on stderr, or lines where that is a file or a pipe.

    Attributes:
        remark: a line under the bars; the end of a line where no bar fits.
    """

    def __init__(self, unit: str) -> None:
        self.remark = ""
        console = Console(stderr=True)
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24 if console.width >= 100 else 8),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=REFRESHES,
        )
        self._unit = unit
        self._begun: dict[TaskID, float] = {}
        self._stopped = threading.Event()

    def add_task(self, *args: Any, **kwargs: Any) -> TaskID:
        """As in rich; lines count from `completed` on."""
        task = super().add_task(*args, **kwargs)
        self._begun[task] = kwargs.get("completed", 0)
        return task

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars and the remark."""
        yield from super().get_renderables()
        if self.remark:
            yield Text(self.remark, style="bright_black", no_wrap=True, overflow="ellipsis")

    def start(self) -> None:
        """Show the bar, or begin to tell."""
        super().start()
        if not self.console.is_terminal:
            threading.Thread(target=self._tell, daemon=True).start()

    def stop(self) -> None:
        """Leave the bar standing; the last line has been told."""
        self._stopped.set()
        super().stop()

    def _tell(self) -> None:
        seconds = FIRST_LINE_SECONDS
        while not self._stopped.wait(seconds):
            seconds = LINE_SECONDS
            for task in self.tasks:
                if not task.finished:
                    self.console.print(self._line(task), markup=False, highlight=False, soft_wrap=True)

    def _line(self, task: Task) -> str:
        """Such as `training: 120 of 1,200 steps, 2.4 steps/s, ETA 0:07:30`; rate and time from this process alone."""
        done = task.completed - self._begun.get(task.id, 0)
        rate = done / task.elapsed if task.elapsed else 0.0
        of = f" of {task.total:,.0f}" if task.total is not None else ""
        left = (
            str(timedelta(seconds=round(task.remaining / rate))) if rate and task.remaining is not None else "unknown"
        )
        remark = f", {self.remark}" if self.remark else ""
        line = f"{task.description}: {task.completed:,.0f}{of} {self._unit}, {rate:,.1f} {self._unit}/s, ETA {left}"
        return line + remark


def progress(unit: str) -> Bar:
    """A bar on stderr that counts `unit`s, such as frames."""
    return Bar(unit)
