"""`mstv-data doctor`: checks what the engines need on this machine, and says what to do."""

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_tools.engine import ENGINES, Engine, EngineSettings, find_engine
from data_tools.engine_process import EngineFailure, EngineProcess
from data_tools.machine_checks import (
    Check,
    display_checks,
    folder_check,
    java_check,
    limit_checks,
    package_checks,
    python_check,
)
from mstv.errors import UserError

_SIZE = (128, 128)
_STEPS = 4
_STYLES = {"ok": "green", "missing": "red", "warning": "yellow"}
_DEFAULT = "blockworld"


def engine_check(engine: Engine, python: str | None, needed: bool) -> Check:
    """Open an engine in its process, and let it show a few frames.

    Args:
        engine: which one.
        python: interpreter that runs it; None takes this one.
        needed: whether what was asked for fails without it.
    """
    name = f"engine {engine.name}"
    start = time.monotonic()
    try:
        with EngineProcess(EngineSettings(engine, _SIZE, python=python)) as process:
            process.reset(seed=0, world=0)
            ready = time.monotonic()
            actions = process.actions
            still = (
                0 if actions.spec.kind == "discrete" else np.clip(np.zeros(len(actions.low)), actions.low, actions.high)
            )
            for _ in range(_STEPS):
                view = process.step(still)
            milliseconds = 1000 * (time.monotonic() - ready) / _STEPS
            versions = ", ".join(f"{package} {version}" for package, version in process.versions.items())
    except UserError as error:
        # It says what to do.
        return Check(name, "missing", str(error).removeprefix(f"{name}: "), needed=needed)
    except EngineFailure as error:
        return Check(name, "missing", str(error).removeprefix(f"{name}: "), engine.advice, needed)
    height, width = view.frame.shape[:2]
    found = f"first frame after {ready - start:.1f} s, then {milliseconds:.0f} ms each, {height}x{width} ({versions})"
    return Check(name, "ok", found, needed=needed)


def engines_check(name: str | None, python: str | None, console: Console) -> list[Check]:
    """Open the engine that was asked for, else all that can be had here.

    Raises:
        UserError: no engine has that name.
    """
    checks = []
    for engine in [find_engine(name)] if name else ENGINES.values():
        if name is None and engine.own_python and python is None:
            told = "not tried: it wants an environment of its own"
            checks.append(Check(f"engine {engine.name}", "warning", told, f"{engine.advice}, then --engine-python"))
            continue
        with console.status(f"opening {engine.name}"):
            # An interpreter that was given without a name is not meant for our own engines.
            given = python if name or engine.own_python else None
            checks.append(engine_check(engine, given, needed=bool(name) or engine.name == _DEFAULT))
    return checks


def table(checks: list[Check]) -> Table:
    """One row a check."""
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title, share in (("what", None), ("state", None), ("found", 3), ("what to do", 2)):
        made.add_column(title, ratio=share, overflow="fold", no_wrap=share is None)
    for check in checks:
        made.add_row(
            Text(check.name), Text(check.state, style=_STYLES[check.state]), Text(check.found), Text(check.advice)
        )
    return made


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data doctor`."""
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help=f"open this one only: {', '.join(ENGINES)}, or gym:ID (default: all that are here)",
    )
    parser.add_argument("--engine-python", metavar="PYTHON", help="interpreter of the engine's own environment")
    parser.add_argument("--folder", type=Path, help="where recordings shall go (default: the current folder)")


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data doctor`; 0 if what was asked for works, else 2."""
    # Engines' messages are long: a pipe or a file has room for them.
    console = Console(width=None if shutil.get_terminal_size().columns >= 100 else 100)
    if arguments.engine:
        find_engine(arguments.engine)
    waiting = Console(stderr=True)
    with waiting.status("importing packages"):
        checks = [python_check(), *package_checks()]
    checks += [java_check(), *display_checks(), *limit_checks()]
    checks.append(folder_check(arguments.folder or Path(), needed=arguments.folder is not None))
    checks += engines_check(arguments.engine, arguments.engine_python, waiting)
    console.print(table(checks))
    failing = [check.name for check in checks if check.needed and check.state == "missing"]
    if failing:
        console.print(f"does not work: {', '.join(failing)}", markup=False, highlight=False)
        return 2
    console.print(f"{arguments.engine or _DEFAULT} works", markup=False, highlight=False)
    return 0
