"""A training that is killed goes on as if nothing had happened, to the last bit."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.conftest import ROOT, Kind, Run, assert_equal_runs, free_port

KINDS: list[Kind] = ["tokenizer", "diffusion"]


def kill_at(run: Run, line: int) -> None:
    """Train, and kill all processes when rank 0 has written so many lines, and a checkpoint is there."""
    run.seconds = 0.03
    processes = run.start(ranks=2)
    processes.wait_until(lambda: len(run.lines()) >= line and run.last.is_file())
    processes.kill()
    assert run.checkpoint()["global_step"] < run.values["trainer"]["max_steps"]
    run.seconds = 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_resumes_bit_identically(
    new_run: Callable[..., Run], whole: Callable[[Kind], Run], kind: Kind
) -> None:
    assert len(whole(kind).steps(0)) == len(whole(kind).steps(1)) == 20
    run = new_run("killed", kind)
    run.values["wandb"] = kind == "diffusion"
    kill_at(run, 9)
    run.train(ranks=2)
    assert len({line["process"] for line in run.lines()}) == 2
    assert_equal_runs(run, whole(kind))
    names = [path.name for path in run.folder.glob("wandb/offline-run-*")]
    assert len(names) == (2 if kind == "diffusion" else 0)
    assert len({name.rpartition("-")[2] for name in names}) == len(names) / 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_kills_at_random_moments(new_run: Callable[..., Run], whole: Callable[[Kind], Run], kind: Kind) -> None:
    rng = random.Random(kind)
    for attempt in range(3):
        run = new_run(f"killed-{attempt}", kind)
        # Checkpoints that are not of every step, too.
        run.values["checkpoint_seconds"] = rng.choice([0.0, 0.1, 0.2])
        kills = sorted(rng.sample(range(3, 19), 3))
        for line in kills:
            run.seconds = 0.03
            processes = run.start(ranks=2)
            processes.wait_until(lambda line=line: len(run.lines()) >= line)  # type: ignore[misc] # noqa: B023
            processes.kill()
        run.seconds = 0.0
        run.train(ranks=2)
        assert_equal_runs(run, whole(kind))


@pytest.mark.slow
def test_torchrun_ends_when_its_processes_have_saved(
    new_run: Callable[..., Run], whole: Callable[[Kind], Run], tmp_path: Path
) -> None:
    """The command of docs/cluster.md: killed, stopped by SIGTERM, and trained to the end."""
    run = new_run("torchrun", "diffusion")
    run.seconds = 0.03
    for number, line in ((signal.SIGKILL, 6), (signal.SIGTERM, 13), (None, 20)):
        launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}", "-m", "--"]
        with (tmp_path / "torchrun.out").open("a") as output:
            process = subprocess.Popen(
                [sys.executable, *launch, "mstv.cli.main", *run.command("--trainer.devices", "2")],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        while len(run.lines()) < line:
            assert process.poll() is None, (tmp_path / "torchrun.out").read_text()
            time.sleep(0.01)
        if number == signal.SIGKILL:
            # torchrun itself, too: else it would tell its processes to end.
            process.kill()
            for rank in {each["process"] for index in (0, 1) for each in run.lines(index)}:
                os.kill(rank, signal.SIGKILL)
        elif number:
            process.send_signal(number)
        assert (process.wait(120) == 0) == (number is None)
        if number == signal.SIGTERM:
            assert run.checkpoint()["global_step"] == run.lines()[-1]["global_step"]
    assert_equal_runs(run, whole("diffusion"))
