"""A training that is killed goes on as if nothing had happened, to the last bit."""

from collections.abc import Callable

import pytest
import torch

from tests.training.conftest import Kind, Run

KINDS: list[Kind] = ["tokenizer", "diffusion"]


def assert_equal_runs(run: Run, whole: Run, ranks: int = 1) -> None:
    """All that two runs recorded, logged and saved, but the time of it."""
    for rank in range(ranks):
        assert run.steps(rank) == whole.steps(rank)
    assert run.metrics() == whole.metrics()
    found, expected = run.checkpoint(), whole.checkpoint()
    assert found["global_step"] == expected["global_step"] == run.values["trainer"]["max_steps"]
    for part in ("state_dict", "current_model_state"):
        assert found[part].keys() == expected[part].keys()
        for name, value in expected[part].items():
            assert torch.equal(found[part][name], value), f"{part} {name}"
    assert found["optimizer_states"][0].keys() == expected["optimizer_states"][0].keys()
    assert run.checkpoint("best.ckpt")["global_step"] == whole.checkpoint("best.ckpt")["global_step"]


def kill_at(run: Run, line: int, ranks: int) -> None:
    """Train, and kill all processes when rank 0 has written so many lines, and a checkpoint is there."""
    run.seconds = 0.03
    processes = run.start(ranks=ranks)
    processes.wait_until(lambda: len(run.lines()) >= line and run.last.is_file())
    processes.kill()
    assert run.checkpoint()["global_step"] < run.values["trainer"]["max_steps"]
    run.seconds = 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_of_two_ranks_resumes_bit_identically(new_run: Callable[..., Run], kind: Kind) -> None:
    whole, killed = new_run("whole", kind), new_run("killed", kind)
    whole.train(ranks=2)
    assert len(whole.steps(0)) == len(whole.steps(1)) == 20
    kill_at(killed, 9, ranks=2)
    killed.train(ranks=2)
    assert len({line["process"] for line in killed.lines()}) == 2
    assert_equal_runs(killed, whole, ranks=2)
