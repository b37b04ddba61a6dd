"""An engine in a process of its own: asked through pipes, watched, and killed when it hangs."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import data_tools.engines
from data_tools.engine import EngineSettings
from data_tools.engines.serving.offspring import MARK, end_offspring
from data_tools.engines.serving.protocol import receive, send
from mstv.data.schema import ActionSpec
from mstv.errors import UserError

_SERVE = "import sys; sys.path.insert(0, sys.argv.pop()); from serving.server import serve; sys.path.pop(0); serve()"
_END_SECONDS = 10.0
_LOG_LINES = 5


class EngineFailure(Exception):
    """The engine crashed or hangs; another process of it may do better."""


@dataclass(frozen=True)
class ActionRange:
    """What actions an engine takes.

    Attributes:
        spec: kind, names and units.
        low, high: float64 (A,), bounds of vector columns, both included; empty for ids.
        whole: bool (A,), whether a column takes whole numbers only; empty for ids.
    """

    spec: ActionSpec
    low: np.ndarray
    high: np.ndarray
    whole: np.ndarray


@dataclass(frozen=True)
class View:
    """What an engine shows: frame uint8 (H, W, 3) RGB, pose float32 (5,) or None, and whether the episode ended."""

    frame: np.ndarray
    pose: np.ndarray | None
    ended: bool


class EngineProcess:
    """A running engine; a context manager that leaves no process behind.

    Args:
        settings: which engine, and what it is asked for.

    Attributes:
        actions: what actions it takes.
        fps: frames a second at which it is meant to be watched.
        versions: of the packages that make its pictures.
        process_id: of the process; it heads a process group of its own.

    Raises:
        UserError: it cannot be started, is not installed or refuses the settings.
        EngineFailure: it ended or gave no answer in time.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the engine runs
        self._mark = uuid.uuid4().hex
        folder = Path(data_tools.engines.__file__).parent
        try:
            self._process = subprocess.Popen(
                [settings.python or sys.executable, "-c", _SERVE, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**os.environ, MARK: self._mark},
                # Of its own, so that Ctrl-C does not reach it and one signal ends all that it started.
                start_new_session=True,
            )
        except OSError as error:
            self._log.close()
            raise UserError(
                f"engine {settings.engine.name}: {settings.python} cannot be started ({error.strerror}): "
                "give a Python interpreter with --engine-python"
            ) from None
        self.process_id = self._process.pid
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, _Timed(self._process)
        try:
            self._welcome(settings)
        except BaseException:
            self.close()
            raise

    def _welcome(self, settings: EngineSettings) -> None:
        engine = settings.engine
        told, _ = self._ask(
            {
                "request": "open",
                "adapter": engine.adapter,
                "env_id": engine.env_id,
                "imports": engine.imports,
                "size": settings.size,
                "action_mode": settings.action_mode,
                "options": dict(settings.options),
            },
            engine.start_seconds,
        )
        spec = ActionSpec(kind=told["kind"], names=tuple(told["names"]), units=tuple(told["units"]))
        self.actions = ActionRange(
            spec, np.array(told["low"], float), np.array(told["high"], float), np.array(told["whole"], bool)
        )
        self.fps: float = told["fps"]
        self.versions: dict[str, str] = told["versions"]

    def reset(self, seed: int, world: int) -> View:
        """Begin an episode in `world`; `seed` chooses what else is left to chance.

        Raises:
            UserError, EngineFailure: as for the class.
        """
        request = {"request": "reset", "seed": seed, "world": world}
        return self._view(*self._ask(request, self._settings.engine.start_seconds))

    def step(self, action: int | np.ndarray) -> View:
        """Live through one frame of an id or of float (A,).

        Raises:
            UserError, EngineFailure: as for the class.
        """
        value = np.asarray(action).tolist()
        return self._view(*self._ask({"request": "step", "action": value}, self._settings.step_seconds))

    def _view(self, told: dict[str, Any], block: bytes) -> View:
        pose = None if told["pose"] is None else np.array(told["pose"], np.float32)
        return View(np.frombuffer(block, np.uint8).reshape(told["shape"]), pose, told["ended"])

    def _ask(self, request: dict[str, Any], seconds: float) -> tuple[dict[str, Any], bytes]:
        name = self._settings.engine.name
        try:
            send(self._requests, request)
            self._answers.deadline = time.monotonic() + seconds
            told, block = receive(self._answers)  # type: ignore[arg-type]
        except TimeoutError:
            raise EngineFailure(f"engine {name}: no answer to {request['request']} in {seconds:g} s") from None
        except (EOFError, OSError, ValueError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
            raise EngineFailure(f"engine {name}: ended ({self._process.returncode}){self._last_words()}") from None
        if "error" in told:
            if told["fix"]:
                advice = f": {self._settings.engine.advice}" if told["missing"] else ""
                raise UserError(f"engine {name}: {_one_line(told['error'])}{advice}")
            raise EngineFailure(f"engine {name}: {_one_line(told['error'])}")
        return told, block

    def _last_words(self) -> str:
        """The end of what the engine printed, on one line."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 4096))
        words = _one_line(self._log.read().decode(errors="replace"))
        return f": {words}" if words else ""

    def close(self) -> None:
        """End the engine and all that it started, by force if it does not end by itself."""
        with contextlib.suppress(OSError):
            self._requests.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the engine and all that it started at once."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        # Minecraft leaves the group.
        end_offspring(self._mark)
        with contextlib.suppress(OSError):
            self._requests.close()
        self._answers.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> "EngineProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill() if isinstance(error, EngineFailure) else self.close()


def _one_line(text: str) -> str:
    """The last lines of a text as one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_LOG_LINES:])


class _Timed:
    """Reads what a process prints, up to a deadline.

    Attributes:
        deadline: in seconds of the monotonic clock.
    """

    _LOOK_SECONDS = 0.5

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        self.deadline = 0.0
        self._process = process
        self._descriptor = process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._descriptor, selectors.EVENT_READ)

    def read(self, count: int) -> bytes:
        """Read at most `count` bytes; none at the end.

        Raises:
            TimeoutError: nothing came before the deadline.
        """
        while True:
            # Looked at before the pipe, which may still hold what the process wrote last.
            ended = self._process.poll() is not None
            left = max(0.0, self.deadline - time.monotonic())
            if self._selector.select(0 if ended else min(left, self._LOOK_SECONDS)):
                return os.read(self._descriptor, count)
            if ended:  # though something that it started still holds the pipe
                return b""
            if not left:
                raise TimeoutError

    def close(self) -> None:
        """Stop watching the pipe, which stays open."""
        self._selector.close()
