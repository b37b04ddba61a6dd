"""Where stderr is no terminal, progress is told line by line, from the start on."""

import time

import pytest

from mstv import progress as module
from mstv.progress import progress


def test_lines_where_no_bar_fits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "FIRST_LINE_SECONDS", 0.02)
    monkeypatch.setattr(module, "LINE_SECONDS", 0.02)
    with progress("frames") as bar:
        task = bar.add_task("rollout", total=2000, completed=500)
        time.sleep(0.2)
        first = capsys.readouterr().err.splitlines()
        assert first and first[0] == "rollout: 500 of 2,000 frames, 0.0 frames/s, ETA unknown"
        bar.advance(task, 750)
        time.sleep(0.2)
    later = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rollout: 1,250 of 2,000 frames")]
    # 750 frames since it began, not 1250, in at least 0.2 s, and as many to come.
    rate, left = later[-1].removeprefix("rollout: 1,250 of 2,000 frames, ").split(" frames/s, ETA ")
    assert 0 < float(rate.replace(",", "")) < 3750 and left.startswith("0:00:0")


def test_a_remark_ends_the_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "FIRST_LINE_SECONDS", 0.02)
    with progress("steps") as bar:
        bar.add_task("training", total=10)
        bar.remark = "loss 0.5"
        time.sleep(0.1)
    assert capsys.readouterr().err.splitlines()[0] == "training: 0 of 10 steps, 0.0 steps/s, ETA unknown, loss 0.5"
