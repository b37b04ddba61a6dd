"""Ends every process that an engine started, also those that went into sessions of their own, as Minecraft's do."""

import contextlib
import os
import signal
import time
from typing import List

MARK = "MSTV_ENGINE"
"""Variable in the environment of an engine that all its offspring inherit; its value names the engine."""
_ROUNDS = 20


def end_offspring(name: str) -> None:
    """Kill all processes that carry the mark `name`, but not this one; does nothing where there is no /proc."""
    mark = f"{MARK}={name}".encode()
    # Again and again, since a process may start another before it is killed.
    for _ in range(_ROUNDS):
        found = [number for number in _processes() if number != os.getpid() and mark in _environment(number)]
        if not found:
            return
        for number in found:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.01)


def _processes() -> List[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []


def _environment(number: int) -> List[bytes]:
    """Variables of a process; none where it is gone or another user's."""
    try:
        with open(f"/proc/{number}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []
