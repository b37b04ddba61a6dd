"""Long rollouts on the first of several ranks: the others wait, whatever happens, and the training is the same."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mstv import checkpoint
from mstv.data.schema import TOKENIZER_COPY
from mstv.tokenizer.module import TokenizerModule
from mstv.transformer.size import TransformerSize
from tests.data.conftest import CHANNELS, LEVELS
from tests.training.conftest import SIZE, Kind, Run, Sets, assert_equal_runs

ROLLOUT: dict[str, Any] = {
    "class_path": "mstv.callbacks.long_rollout.LongRollout",
    "init_args": {"every_steps": 5, "context_frames": 24, "end_frame": 30, "sampling": {"nfe": 2}, "max_share": 1e6},
}


def use_tokenizer(run: Run, sets: Sets, folder: Path) -> None:
    """Train on latents that can be decoded."""
    latents = folder / "latents"
    shutil.copytree(sets.diffusion, latents)
    size = TransformerSize(**SIZE)
    tokenizer = TokenizerModule(LEVELS, CHANNELS, size, size)
    checkpoint.write_weights(latents / TOKENIZER_COPY, "tokenizer", tokenizer.config, tokenizer.state_dict())
    run.values["data"]["init_args"]["folder"] = str(latents)


@pytest.mark.slow
def test_the_others_wait_and_train_as_without(
    new_run: Callable[[str, Kind], Run], sets: Sets, whole: Callable[[Kind], Run], tmp_path: Path
) -> None:
    run = new_run("rolls", "diffusion")
    use_tokenizer(run, sets, tmp_path)
    run.callbacks.append(ROLLOUT)
    run.train("--trainer.max_steps", "10", ranks=2)
    # Killed and resumed there: the turn is not taken twice.
    run.train(ranks=2)
    assert_equal_runs(run, whole("diffusion"))
    with (run.folder / "metrics.csv").open(newline="") as file:
        turns = [row["step"] for row in csv.DictReader(file) if row.get("rollout/episodes")]
    assert turns == ["4", "9", "14", "19"]
    assert len(list(run.folder.glob("media/rollout-three-*.mp4"))) == 4


def test_a_turn_that_fails_leaves_no_rank_waiting(new_run: Callable[[str, Kind], Run]) -> None:
    run = new_run("fails", "diffusion")
    run.callbacks.append(ROLLOUT)  # the set has no tokenizer
    said = run.train("--trainer.max_steps", "6", ranks=2)
    assert said.count("the long rollout at step 5 failed") == 1
    assert run.checkpoint()["global_step"] == 6


def test_a_disk_that_takes_no_media_leaves_no_rank_waiting(
    new_run: Callable[[str, Kind], Run], sets: Sets, tmp_path: Path
) -> None:
    run = new_run("blocked", "diffusion")
    use_tokenizer(run, sets, tmp_path)
    run.callbacks.append(ROLLOUT)
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "media").write_text("in the way")
    said = run.train("--trainer.max_steps", "6", ranks=2)
    assert said.count("the long rollout at step 5 failed: videos: ") == 1
    assert run.checkpoint()["global_step"] == 6
    with (run.folder / "metrics.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file) if row.get("rollout/psnr_h4")] == ["4"]
