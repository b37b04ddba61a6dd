"""Trainings that are interrupted or killed go on as if nothing had happened."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mstv.data.write_locks import LOCK
from tests.cli.conftest import Pipeline
from tests.cli.test_pipeline import columns

STEPS = 60


def start(pipeline: Pipeline, run: Path) -> "subprocess.Popen[str]":
    more = ["--trainer.max_steps", str(STEPS), "--trainer.val_check_interval", "7", "--data.num_workers", "1"]
    command = pipeline.fit_tokenizer(run, *more, "--checkpoint_seconds", "0.3")
    return subprocess.Popen(
        [sys.executable, "-m", "mstv.cli.main", *command],
        stderr=subprocess.PIPE,
        text=True,
        # Where the session runs in the background, SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: "subprocess.Popen[str]") -> str:
    _, error = process.communicate(timeout=120)
    return error


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_stopped_training_resumes_bit_identically(
    pipeline: Pipeline, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    whole = start(pipeline, tmp_path / "whole")
    finish(whole)
    assert whole.returncode == 0
    run = tmp_path / "stopped"
    last = run / "checkpoints" / "last.ckpt"
    stopped = start(pipeline, run)
    while not last.is_file() and stopped.poll() is None:
        time.sleep(0.02)
    time.sleep(0.5)
    assert (run / LOCK).is_file(), "held while it trains"
    stopped.send_signal(number)
    error = finish(stopped)
    assert stopped.returncode == code, error
    assert "Traceback" not in error
    assert 0 < torch.load(last, weights_only=True)["global_step"] < STEPS
    again = start(pipeline, run)
    finish(again)
    assert again.returncode == 0 and not (run / LOCK).exists()
    a, b = (torch.load(path, weights_only=True) for path in (tmp_path / "whole" / "checkpoints" / "last.ckpt", last))
    assert a["global_step"] == b["global_step"] == STEPS
    for name, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][name]), name
    # A validation that was due at the very checkpoint is not run again, so only the losses must all be there.
    assert columns(run)["train/loss"] == columns(tmp_path / "whole")["train/loss"]
