"""Trainings whose gradients are not finite, by the real command."""

from collections.abc import Callable
from pathlib import Path

import torch

from tests.training.conftest import Run


def saved(run: Run) -> list[Path]:
    return sorted((run.folder / "divergence").glob("*"))


def test_a_bad_batch_of_one_rank_is_skipped_by_all(new_run: Callable[..., Run]) -> None:
    run = new_run("poisoned", "diffusion")
    run.values["trainer"].update(max_steps=10, log_every_n_steps=1)
    run.callbacks.append({"class_path": "tests.training.poison.Poison", "init_args": {"rank": 1, "batches": [5, 8]}})
    said = run.train(ranks=2)
    assert "Traceback" not in said
    assert [path.name for path in saved(run)] == ["step-5-rank1.pt", "step-8-rank1.pt"]
    held = torch.load(saved(run)[0], weights_only=True)
    (micro_batch,) = held["micro_batches"]
    batch = micro_batch["batch"]
    assert held["step"] == 5 and batch["index"] == 5 and batch["tokens"].isnan().any()
    assert set(batch["keys"]) <= {"one", "two"} and len(batch["starts"]) == len(batch["tokens"]) == 2

    rows = [row for row in run.metrics() if "train/skipped_steps" in row]
    assert [float(row["train/skipped_steps"]) for row in rows] == [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]
    norms = [row["train/gradient_norm"] for row in rows]
    assert [norm == "nan" for norm in norms] == [step in (5, 8) for step in range(10)]
    for part in ("state_dict", "current_model_state"):
        assert all(value.isfinite().all() for value in run.checkpoint()[part].values())
    assert run.checkpoint()["divergence"] == {"skipped": 2, "in_a_row": 0}


def test_a_diverged_training_stops_with_one_line(new_run: Callable[..., Run]) -> None:
    run = new_run("diverged", "diffusion")
    run.values["trainer"]["gradient_clip_val"] = None
    run.values["model"]["init_args"]["optimiser"] = {
        **{"learning_rate": 1e30, "warmup_steps": 1, "max_skipped_steps": 4},
    }
    processes = run.start(ranks=2)
    assert processes.wait() == [2, 2]
    said = processes.said()
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("mstv: error: training diverged: ")]
    assert lines and "4 steps in a row, from step 1" in lines[0]
    assert str(run.last) in lines[0] and str(saved(run)[0]) in lines[0] and "learning_rate" in lines[0]
    # What was saved before the first bad step is still there.
    assert run.checkpoint()["global_step"] == 1
    assert run.checkpoint()["divergence"] == {"skipped": 0, "in_a_row": 0}
