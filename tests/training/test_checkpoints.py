"""The files in `checkpoints/`: what is kept, what a damaged one says, and accumulated gradients."""

import shlex
import subprocess
from collections.abc import Callable

import pytest

from tests.training.conftest import Kind, Run, assert_equal_runs
from tests.training.test_ranks import refused


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
@pytest.mark.slow
def test_a_damaged_checkpoint_names_the_older_ones(
    new_run: Callable[..., Run], whole: Callable[[Kind], Run], damage: str
) -> None:
    run = new_run("damaged", "diffusion")
    run.values["trainer"]["max_steps"] = 9
    run.train(ranks=2)
    run.values["trainer"]["max_steps"] = 20
    content = run.last.read_bytes()
    middle = len(content) // 2
    run.last.write_bytes(
        {
            "cut": content[:middle],
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "empty": b"",
        }[damage]
    )
    # It is another name of step-9.ckpt, which is damaged with it.
    processes = run.start()
    assert processes.wait() == [2]
    (line,) = [line for line in processes.said().splitlines() if line.startswith("mstv: error: ")]
    assert "last.ckpt: damaged" in line and "step-8.ckpt, step-7.ckpt" in line
    subprocess.run(shlex.split(line.rpartition(": ")[2]), check=True)
    run.train(ranks=2)
    assert_equal_runs(run, whole("diffusion"))


def test_without_any_whole_checkpoint_a_run_says_so(new_run: Callable[..., Run]) -> None:
    run = new_run("damaged", "diffusion")
    run.last.parent.mkdir(parents=True)
    run.last.write_bytes(b"nothing")
    refused(run, "no older one is whole", str(run.last.parent))


def test_a_lost_last_checkpoint_goes_on_from_an_older_one(new_run: Callable[..., Run]) -> None:
    run = new_run("lost", "diffusion")
    run.values["trainer"]["max_steps"] = 5
    run.train()
    run.last.unlink()
    run.values["trainer"]["max_steps"] = 7
    run.train()
    assert [line["index"] for line in run.lines()] == list(range(7))


@pytest.mark.slow
def test_accumulated_gradients_survive_a_kill(new_run: Callable[..., Run]) -> None:
    runs = [new_run(name, "diffusion") for name in ("whole", "killed")]
    for run in runs:
        run.values["trainer"].update(accumulate_grad_batches=3, max_steps=8)
    whole, killed = runs
    whole.train()
    for line in (5, 13):
        killed.seconds = 0.03
        processes = killed.start()
        processes.wait_until(lambda line=line: len(killed.lines()) >= line and killed.last.is_file())  # type: ignore[misc]
        processes.kill()
    killed.seconds = 0.0
    killed.train()
    assert_equal_runs(killed, whole, ranks=1)
