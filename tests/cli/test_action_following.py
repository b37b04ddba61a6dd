"""Inverse dynamics through the real commands: trained, resumed, used by `mstv evaluate`, shown by `mstv compare`."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch

from mstv.cli.main import main
from mstv.data.results.actions import read_actions
from tests.cli.conftest import EXPERIMENTS, SMALL, Pipeline


def fit(pipeline: Pipeline, run: Path, *more: str) -> list[str]:
    small = [*SMALL, "--data.folder", str(pipeline.shards), "--data.batch_size", "4", "--model.width", "8"]
    return ["fit", "-c", str(EXPERIMENTS / "inverse_dynamics.yaml"), "--run", str(run), *small, *more]


@pytest.fixture(scope="module")
def inverse_dynamics(pipeline: Pipeline) -> Path:
    run = pipeline.root / "inverse_dynamics"
    assert main(fit(pipeline, run)) == 0
    return run


def test_a_training_logs_its_scores_and_resumes_bit_identically(
    pipeline: Pipeline, inverse_dynamics: Path, tmp_path: Path
) -> None:
    with (inverse_dynamics / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("validation/accuracy", "validation/macro_f1", "validation/f1_forward", "validation/loss"):
        assert sum(bool(row[name]) for row in rows) == 2, name
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert len(losses) == 4 and all(map(math.isfinite, losses))
    run = tmp_path / "run"
    assert main(fit(pipeline, run, "--trainer.max_steps", "3")) == 0
    assert main(fit(pipeline, run)) == 0
    whole, resumed = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (inverse_dynamics, run)
    )
    for name, weight in whole["state_dict"].items():
        assert torch.equal(weight, resumed["state_dict"][name]), name


def test_evaluate_tells_actions_of_an_evaluation_that_is_there(
    pipeline: Pipeline, inverse_dynamics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = pipeline.evaluate("--protocol", "actions")
    assert main(plain) == 0
    folder = pipeline.diffusion / "evaluation" / "actions"
    assert json.loads((folder / "summary.json").read_text())["actions"] is None
    capsys.readouterr()
    assert main([*plain, "--inverse-dynamics", str(inverse_dynamics)]) == 0
    assert "Actions told from frames" in capsys.readouterr().out
    card, summary = (json.loads((folder / name).read_text()) for name in ("card.json", "summary.json"))
    assert card["inverse_dynamics_sha256"] == summary["actions"]["inverse_dynamics_sha256"]
    scores = {(score["series"], score["metric"], score["name"]) for score in summary["actions"]["scores"]}
    assert {(series, "accuracy", "") for series in ("recorded", "upper_bound", "generated", "lower_bound")} <= scores
    assert all(row["num_frames"] == 36 for row in read_actions(folder).to_pylist())
    # Again, and without the option: all stays.
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.*") if path.is_file()}
    assert main([*plain, "--inverse-dynamics", str(inverse_dynamics)]) == 0 and main(plain) == 0
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*.*") if path.is_file()}
    assert main([*plain, "--metrics", "sharpness"]) == 0
    assert json.loads((folder / "summary.json").read_text())["actions"] == summary["actions"]
    page = tmp_path / "compare.html"
    assert main(["compare", str(pipeline.diffusion), "--protocol", "actions", "--out", str(page)]) == 0
    assert "Actions told from frames" in capsys.readouterr().out and 'id="actions"' in page.read_text()


def test_models_of_another_kind_are_refused(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    command = pipeline.evaluate("--protocol", "refused", "--inverse-dynamics", str(pipeline.tokenizer))
    assert main(command) == 2
    assert "inverse_dynamics" in capsys.readouterr().err
