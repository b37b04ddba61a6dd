"""Reads back what trackio keeps."""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
needs_trackio = pytest.mark.skipif(
    importlib.util.find_spec("trackio") is None, reason="trackio is not installed: pip install 'mstv[trackio]'"
)
LOGGER = "mstv.tracking.trackio_logger.TrackioLogger"


def run_with_store(store: Path, *arguments: str) -> None:
    """Python with a folder of its own for trackio, which asks for it when it is imported."""
    environment = {**os.environ, "TRACKIO_DIR": str(store), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-W", "ignore", *arguments], check=True, env=environment)


def logged(store: Path) -> dict[str, list[dict[str, Any]]]:
    """What each run logged, in order."""
    with sqlite3.connect(store / "walks.db") as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id").fetchall()
    found: dict[str, list[dict[str, Any]]] = {}
    for run, step, metrics in rows:
        found.setdefault(run, []).append({"step": step, **json.loads(metrics)})
    return found


def stored(store: Path, rows: list[dict[str, Any]], name: str) -> list[bytes]:
    """The files that were logged under a name."""
    paths = [row[name]["file_path"] for row in rows if name in row]
    return [next(store.rglob(Path(path).name)).read_bytes() for path in paths]
