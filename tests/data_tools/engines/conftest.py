"""Engines from the folder of stand-ins, in their real processes."""

from pathlib import Path

import pytest

STAND_INS = Path(__file__).parent / "stand_ins"


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-ins on the path of every engine started in the test."""
    monkeypatch.setenv("PYTHONPATH", str(STAND_INS))
    return STAND_INS
