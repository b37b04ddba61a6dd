"""Serves one engine over standard input and output, until the recorder closes the pipe or dies."""

import contextlib
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from typing import IO, Any, Dict, Tuple

import numpy as np

from .adapter import Adapter, MissingError, SettingsError, View
from .offspring import MARK, end_offspring
from .protocol import receive, send

ADAPTERS = {
    "gymnasium": ("gymnasium_adapter", "GymnasiumAdapter"),
    "minerl": ("minerl_adapter", "MineRLAdapter"),
    "craftground": ("craftground_adapter", "CraftGroundAdapter"),
}


def serve() -> None:
    """Answer requests until the pipe is closed."""
    # What an engine prints must not get between the messages: it goes to standard error.
    with os.fdopen(os.dup(0), "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = sys.stderr
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
        # Ctrl-C is answered by the recorder, which then closes the pipe.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _answer_all(requests, answers)
    # Here already, since a recorder that was killed does it no more.
    end_offspring(os.environ.get(MARK, ""))


def _answer_all(requests: IO[bytes], answers: IO[bytes]) -> None:
    adapter = None
    try:
        while True:
            request, _ = receive(requests)
            try:
                if request["request"] == "open":
                    adapter = _opened(request)
                    send(answers, _welcome(adapter))
                    continue
                assert adapter is not None
                if request["request"] == "reset":
                    view = adapter.reset(request["seed"], request["world"])
                else:
                    view = adapter.step(request["action"])
                send(answers, *_shown(view))
            except Exception as error:
                traceback.print_exc()
                # Our own engines raise mstv's UserError, which cannot be imported everywhere.
                fix = isinstance(error, SettingsError) or type(error).__name__ == "UserError"
                told = str(error).strip() if fix else _where(error)
                send(answers, {"error": told, "fix": fix, "missing": isinstance(error, MissingError)})
    except (EOFError, BrokenPipeError):
        pass
    finally:
        if adapter is not None:
            with contextlib.suppress(Exception):
                adapter.close()


def _where(error: Exception) -> str:
    """What went wrong in an engine, and in which line of it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error).strip()} ({place.filename}:{place.lineno})"


def _opened(request: Dict[str, Any]) -> Adapter:
    module, name = ADAPTERS[request["adapter"]]
    try:
        for imported in request["imports"]:
            importlib.import_module(imported)
        kind = getattr(importlib.import_module("." + module, __package__), name)
        return kind(request["env_id"], tuple(request["size"]), request["action_mode"], request["options"])
    except ImportError as error:
        raise MissingError(f"cannot be imported ({error})") from error


def _welcome(adapter: Adapter) -> Dict[str, Any]:
    # Minecraft's old interpreters have no importlib.metadata.
    try:
        from importlib.metadata import version
    except ImportError:
        from pkg_resources import get_distribution

        def version(distribution_name: str) -> str:
            return get_distribution(distribution_name).version

    versions = dict(adapter.programs)
    for package in adapter.packages:
        with contextlib.suppress(Exception):
            versions[package] = version(package)
    return {"fps": float(adapter.fps), "versions": versions, **adapter.actions._asdict()}


def _shown(view: View) -> Tuple[Dict[str, Any], bytes]:
    frame = np.ascontiguousarray(view.frame)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise SettingsError(f"its frames are {frame.dtype} {frame.shape}, not uint8 (H, W, 3)")
    pose = None if view.pose is None else [float(value) for value in view.pose]
    return {"ended": bool(view.ended), "pose": pose, "shape": frame.shape}, frame.tobytes()


def _end_with_parent(parent: int) -> None:
    """End this process and all that it started once the recorder is gone, however it ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    end_offspring(os.environ.get(MARK, ""))
    # The recorder made this process the head of a group of its own.
    os.killpg(0, signal.SIGKILL)
