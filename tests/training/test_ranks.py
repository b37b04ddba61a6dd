"""Several ranks train on what one process would, and a run can change its ranks or says why not."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.conftest import Kind, Run

STANDSTILL = 1e-30
"""A learning rate that changes no weight."""


def set_batch(run: Run, size: int, **trainer: int) -> None:
    run.values["data"]["init_args"]["batch_size"] = size
    run.values["trainer"].update(trainer)


def refused(run: Run, *parts: str, ranks: int = 1) -> None:
    processes = run.start(ranks=ranks)
    assert processes.wait() == [2] * ranks, processes.said()
    lines = [line for line in processes.said().splitlines() if line.startswith("mstv: error: ")]
    assert len(lines) == ranks and "Traceback" not in processes.said()
    for part in parts:
        assert part in lines[0], lines[0]


def test_an_epoch_shows_each_frame_once(whole: Callable[[Kind], Run]) -> None:
    run = whole("tokenizer")
    seen = [image for rank in (0, 1) for step in run.steps(rank).values() for image in step["each"]]
    # Of 5 chunks of each of 6 shards, 4 frames are drawn; with 4 workers two of them have a shard less.
    assert len(seen) == len(set(seen)) == 80


def test_one_rank_writes(whole: Callable[[Kind], Run]) -> None:
    for kind in ("tokenizer", "diffusion"):
        run = whole(kind)
        files = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
        best = run.checkpoint("best.ckpt")["global_step"]
        kept = {f"checkpoints/{name}.ckpt" for name in ("last", "best", "step-20", "step-19", "step-18")}
        described = {"run.json"} | ({"plan.png"} if kind == "diffusion" else set())
        assert files == {"config.yaml", "run.json", "metrics.csv"} | described | kept and best in (6, 12, 18)
        # A validation has a row of its own at the step that it follows.
        logged = [(int(row["step"]), name) for row in run.metrics() for name in row if name != "step"]
        steps = [step for step, _ in logged]
        assert len(logged) == len(set(logged)) and steps == sorted(steps)


@pytest.mark.parametrize("kind", ["tokenizer", "diffusion"])
def test_two_ranks_validate_as_one(new_run: Callable[..., Run], kind: Kind) -> None:
    """Three episodes on two ranks: one of them comes twice, and must not count twice."""
    rows = []
    for ranks in (1, 2):
        run = new_run(f"ranks-{ranks}", kind)
        set_batch(run, 4 // ranks, max_steps=1, val_check_interval=1)
        run.values["model"]["init_args"]["optimiser"] = {"learning_rate": STANDSTILL, "warmup_steps": 1}
        run.train(ranks=ranks)
        rows.append(
            {name: float(value) for row in run.metrics() for name, value in row.items() if name.startswith("val")}
        )
    assert len(rows[0]) >= 2
    assert rows[0] == pytest.approx(rows[1], rel=1e-5)


def test_two_ranks_train_as_one_process_with_the_joined_batch(
    new_run: Callable[..., Run], whole: Callable[[Kind], Run]
) -> None:
    joint, alone = whole("diffusion"), new_run("alone", "diffusion")
    set_batch(alone, 4)
    alone.train()
    assert_same_sequence(alone, joint, range(20))
    for name, value in joint.checkpoint()["current_model_state"].items():
        torch.testing.assert_close(alone.checkpoint()["current_model_state"][name], value, rtol=1e-3, atol=1e-4)


def assert_same_sequence(alone: Run, joint: Run, steps: range) -> None:
    """One rank's samples are those of two, and so is the loss but for rounding."""
    first, second, both = joint.steps(0), joint.steps(1), alone.steps(0)
    for step in steps:
        for name in ("keys", "starts"):
            assert first[step][name] + second[step][name] == both[step][name]
        assert first[step]["step"] == second[step]["step"] == both[step]["step"]
        assert first[step]["rates"] == both[step]["rates"]
        losses = [float.fromhex(each[step]["loss"]) for each in (first, second, both)]
        assert math.isclose((losses[0] + losses[1]) / 2, losses[2], rel_tol=1e-3)


@pytest.mark.slow
def test_diffusion_goes_on_with_as_many_samples_a_step_on_other_ranks(
    new_run: Callable[..., Run], whole: Callable[[Kind], Run]
) -> None:
    run = new_run("changed", "diffusion")
    run.values["trainer"]["max_steps"] = 9
    run.train(ranks=2)
    run.values["trainer"]["max_steps"] = 20
    said = ["2 ranks x batch_size 2 x accumulate_grad_batches 1 = 4", "1 ranks x batch_size 2 x", "--data.batch_size 4"]
    refused(run, *said, "--weights")
    (run.record / "rank0.jsonl").rename(run.record / "before.jsonl")
    set_batch(run, 4)
    run.train()
    assert_same_sequence(run, whole("diffusion"), range(9, 20))

    # With accumulation the samples are others, and as many.
    set_batch(run, 2, max_steps=26, accumulate_grad_batches=2)
    run.train()
    assert [row["step"] for row in run.metrics() if "train/loss" in row] == [str(step) for step in range(2, 26, 3)]
    assert run.checkpoint()["global_step"] == 26
    assert list(run.steps()) == list(range(9, max(run.steps()) + 1))


@pytest.mark.slow
def test_a_tokenizer_refuses_other_ranks_and_workers(new_run: Callable[..., Run]) -> None:
    run = new_run("changed", "tokenizer")
    run.values["trainer"]["max_steps"] = 3
    run.train()
    run.values["trainer"]["max_steps"] = 6
    refused(run, "1 ranks x batch_size 2", "2 ranks x batch_size 2", "--trainer.devices", "--weights", ranks=2)
    run.values["data"]["init_args"]["num_workers"] = 1
    refused(run, "2 workers a rank", "1 workers", "--data.num_workers")


def test_more_workers_than_shards_are_refused_before_training(new_run: Callable[..., Run]) -> None:
    run = new_run("crowded", "tokenizer")
    run.values["data"]["init_args"]["num_workers"] = 4
    refused(run, "6 shards for 2 ranks x 4 workers", "--episodes-per-shard", ranks=2)
    assert not run.lines()


def test_ranks_do_not_validate_by_their_own_clocks(new_run: Callable[..., Run]) -> None:
    run = new_run("clock", "diffusion")
    run.values["trainer"]["val_check_interval"] = "00:00:01:00"
    refused(run, "val_check_interval is a time", ranks=2)


@pytest.mark.slow
def test_a_new_run_begins_with_the_weights_of_another(
    new_run: Callable[..., Run], whole: Callable[[Kind], Run], tmp_path: Path
) -> None:
    source = whole("tokenizer")
    run = new_run("begun", "tokenizer")
    run.values["weights"] = str(source.folder)
    run.values["trainer"]["max_steps"] = 2
    run.values["model"]["init_args"]["optimiser"] = {"learning_rate": STANDSTILL, "warmup_steps": 1}
    run.train()
    before = run.checkpoint()["current_model_state"]
    for name, value in source.checkpoint()["state_dict"].items():
        assert torch.equal(value, before[name]), name
    # The same command goes on, whatever has become of the other run.
    run.values["weights"] = str(tmp_path / "gone")
    run.values["trainer"]["max_steps"] = 3
    run.train()
    assert [line["index"] for line in run.lines()] == [0, 1, 2]

    for name, changes, message in (
        ("absent", {}, "no such checkpoint"),
        ("kind", {"weights": str(whole("diffusion").folder)}, "kind is diffusion, expected tokenizer"),
        ("size", {"weights": str(source.folder)}, "of another architecture"),
    ):
        other = new_run(name, "tokenizer")
        other.values.update({"weights": str(tmp_path / "gone"), **changes})
        other.values["model"]["init_args"]["latent_channels"] = 8 if name == "size" else 4
        refused(other, message)
        assert not other.folder.exists()
