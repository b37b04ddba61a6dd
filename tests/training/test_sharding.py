"""Sharded weights (FSDP2) train as whole ones do; resumed, and read by another strategy."""

from collections.abc import Callable

import pytest
import torch

from tests.training.conftest import Kind, Run, assert_equal_runs
from tests.training.test_ranks import refused


def assert_close_weights(run: Run, whole: Run) -> None:
    for part in ("state_dict", "current_model_state"):
        for name, value in whole.checkpoint()[part].items():
            torch.testing.assert_close(run.checkpoint()[part][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_sharded_weights_train_as_whole_ones_and_resume(
    new_run: Callable[..., Run], whole: Callable[[Kind], Run]
) -> None:
    once, twice = new_run("once", "diffusion"), new_run("twice", "diffusion")
    for run in (once, twice):
        run.values["trainer"]["strategy"] = "fsdp"
    once.train(ranks=2)
    assert_close_weights(once, whole("diffusion"))

    twice.values["trainer"]["max_steps"] = 9
    twice.train(ranks=2)
    twice.values["trainer"]["max_steps"] = 20
    twice.train(ranks=2)
    assert_equal_runs(twice, once)


@pytest.mark.slow
def test_another_strategy_goes_on_with_sharded_weights(
    new_run: Callable[..., Run], whole: Callable[[Kind], Run]
) -> None:
    run = new_run("changed", "diffusion")
    run.values["model"]["init_args"]["activation_checkpointing"] = True
    run.values["trainer"].update(strategy="fsdp", max_steps=9)
    run.train(ranks=2)
    run.values["trainer"].update(strategy="auto", max_steps=20)
    run.values["data"]["init_args"]["batch_size"] = 4
    run.train()
    assert_close_weights(run, whole("diffusion"))


def test_what_cannot_be_sharded_is_refused(new_run: Callable[..., Run]) -> None:
    run = new_run("tokenizer", "tokenizer")
    run.values["trainer"]["strategy"] = "fsdp"
    refused(run, "a tokenizer cannot", "use ddp", ranks=2)
    run = new_run("rollout", "diffusion")
    run.values["trainer"]["strategy"] = "fsdp"
    rollout = {"every_steps": 2, "context_frames": 8, "end_frame": 16}
    run.callbacks.append({"class_path": "mstv.callbacks.long_rollout.LongRollout", "init_args": rollout})
    refused(run, "LongRollout", "ddp")
