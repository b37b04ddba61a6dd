"""Signals of schedulers stop a training at the end of a step, on all ranks, and the same command goes on."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.conftest import Kind, Run, assert_equal_runs, free_port


def stop(
    run: Run, number: signal.Signals, rank: int, group: bool = False, env: list[dict[str, str]] | None = None
) -> tuple[list[int | None], str]:
    """Train on two ranks, signal one of them mid-epoch; exit codes, and what was said."""
    run.seconds = 0.03
    # So that only the signal makes a checkpoint.
    run.values["checkpoint_seconds"] = 1000.0
    processes = run.start(ranks=2, env=env)
    processes.wait_until(lambda: len(run.lines()) >= 9)
    assert not run.last.exists() or run.checkpoint()["global_step"] == 6  # the best so far
    for chosen in (0, 1) if group else (rank,):
        processes.signal(number, chosen, group)
    codes = processes.wait()
    run.seconds = 0.0
    return codes, processes.said()


@pytest.mark.slow
@pytest.mark.parametrize("group", [False, True], ids=["one rank", "all processes of the job"])
def test_sigterm_saves_on_all_ranks_and_resumes(
    new_run: Callable[..., Run], whole: Callable[[Kind], Run], group: bool
) -> None:
    kind: Kind = "tokenizer" if group else "diffusion"
    run = new_run("stopped", kind)
    codes, said = stop(run, signal.SIGTERM, rank=1, group=group)
    assert codes == [143, 143], said
    assert "Traceback" not in said and "goes on from here" in said
    step = run.checkpoint()["global_step"]
    assert 9 <= step < 20 and step == run.lines()[-1]["global_step"]
    run.train(ranks=2)
    assert_equal_runs(run, whole(kind))
    # Nothing was done twice.
    assert len(run.lines(0)) == 20


def test_ctrl_c_ends_with_130(new_run: Callable[..., Run]) -> None:
    run = new_run("interrupted", "diffusion")
    run.values["checkpoint_seconds"] = 0.0
    run.seconds = 0.03
    processes = run.start()
    processes.wait_until(lambda: len(run.lines()) >= 3)
    processes.signal(signal.SIGINT, 0, group=True)
    assert processes.wait() == [130]
    assert "Traceback" not in processes.said()
    assert run.checkpoint()["global_step"] >= 2


def test_sigusr1_without_slurm_only_stops(new_run: Callable[..., Run]) -> None:
    run = new_run("stopped", "diffusion")
    codes, said = stop(run, signal.SIGUSR1, rank=0)
    assert codes == [143, 143], said
    assert run.last.is_file()


@pytest.mark.slow
@pytest.mark.parametrize("works", [True, False])
def test_sigusr1_in_a_slurm_job_queues_it_again_once(
    new_run: Callable[..., Run], whole: Callable[[Kind], Run], tmp_path: Path, works: bool
) -> None:
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    calls = tmp_path / "calls"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n' + ("" if works else "echo slurm is down >&2\nexit 1\n"))
    program.chmod(0o755)
    port = str(free_port())
    env = [
        {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NAME": "train",
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "2",
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank),
            "SLURM_NODEID": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        for rank in range(2)
    ]
    run = new_run("queued", "diffusion")
    # SLURM signals every process of the job, workers too.
    codes, said = stop(run, signal.SIGUSR1, rank=0, group=True, env=env)
    assert calls.read_text().splitlines() == ["requeue 4711"]
    if not works:
        assert codes == [143, 0] and "slurm is down" in said, said
        return
    assert codes == [0, 0], said
    assert not list(run.folder.glob("**/hpc_ckpt*"))
    assert "Traceback" not in said
    run.train(ranks=2)
    assert_equal_runs(run, whole("diffusion"))
