"""Runs to compare."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.synthetic_run import make_run


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run in the test's folder: `new_run(name, quality, **arguments of make_run)`."""
    return lambda name, quality=0.0, **changes: make_run(tmp_path / name, quality, **changes)
