"""Inverse dynamics through the real commands: trained, resumed, used by `mstv evaluate`, shown by `mstv compare`."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mstv.cli import action_following, signs_of_life
from mstv.cli.main import main
from mstv.data.results import Card, Summary
from mstv.data.results.actions import ActionSums, read_action_sums, read_actions, write_action_sums
from mstv.errors import UserError
from tests.cli.conftest import EXPERIMENTS, SMALL, Pipeline

TWO = ["--episodes", "2", "--end", "84"]


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
    note = next(note for note in card["metrics"] if note["name"] == "action_following")
    assert note["definition"]["version"] == 1 and note["definition"]["names"]
    assert note["definition"]["inverse_dynamics"]["sha256"] == card["inverse_dynamics_sha256"]
    scores = {(score["series"], score["metric"], score["name"]) for score in summary["actions"]["scores"]}
    assert {(series, "accuracy", "") for series in ("recorded", "upper_bound", "generated", "lower_bound")} <= scores
    assert all(row["num_frames"] == 36 for row in read_actions(folder).to_pylist())
    # Again, and without the option: all stays.
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.*") if path.is_file()}
    assert main([*plain, "--inverse-dynamics", str(inverse_dynamics)]) == 0 and main(plain) == 0
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*.*") if path.is_file()}
    assert main([*plain, "--metrics", "sharpness"]) == 0
    assert json.loads((folder / "summary.json").read_text())["actions"] == summary["actions"]
    assert note in json.loads((folder / "card.json").read_text())["metrics"]
    page = tmp_path / "compare.html"
    assert main(["compare", str(pipeline.diffusion), "--protocol", "actions", "--out", str(page)]) == 0
    assert "Actions told from frames" in capsys.readouterr().out and 'id="actions"' in page.read_text()
    # A card of an earlier version has no such note: it can be shown, and is given one without telling anything again.
    earlier = json.loads((folder / "card.json").read_text())
    earlier["metrics"].remove(note)
    (folder / "card.json").write_text(json.dumps(earlier))
    assert main(["compare", str(pipeline.diffusion), "--protocol", "actions", "--out", str(page)]) == 0
    assert "Actions told from frames" in capsys.readouterr().out
    told = (folder / "actions.parquet").stat().st_mtime_ns
    assert main([*plain, "--inverse-dynamics", str(inverse_dynamics)]) == 0
    assert note in json.loads((folder / "card.json").read_text())["metrics"]
    assert told == (folder / "actions.parquet").stat().st_mtime_ns


def test_telling_resumes_after_an_episode(
    pipeline: Pipeline, inverse_dynamics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = pipeline.evaluate(*TWO, "--protocol", "stopped", "--metrics", "psnr")
    command += ["--inverse-dynamics", str(inverse_dynamics)]
    score, told = action_following.score_actions, []

    def interrupted(model, episode, *arguments):
        if len(told) == 1:
            told.append("stopped")
            raise KeyboardInterrupt
        told.append(episode.key)
        return score(model, episode, *arguments)

    monkeypatch.setattr(action_following, "score_actions", interrupted)
    assert main(command) == 130
    folder = pipeline.diffusion / "evaluation" / "stopped"
    first, second = Card.read(folder / "card.json").episodes
    assert [path.stem for path in (folder / "actions.parts").iterdir()] == [first]
    assert main(command) == 0
    assert told == [first, "stopped", second]
    assert {row["episode"] for row in read_actions(folder).to_pylist()} == {first, second}
    assert not list(folder.glob("*.parts"))
    # By another model all is told again.
    other = pipeline.root / "other_inverse_dynamics"
    assert main(fit(pipeline, other, "--model.seed", "5", "--trainer.max_steps", "2")) == 0
    before = Card.read(folder / "card.json")
    assert main([*command[:-1], str(other)]) == 0
    after = Card.read(folder / "card.json")
    assert told[3:] == [first, second] and after.inverse_dynamics_sha256 != before.inverse_dynamics_sha256
    assert [note.name for note in after.metrics] == [note.name for note in before.metrics]
    definition = after.metrics[-1].definition or {}
    assert definition["inverse_dynamics"] == {"sha256": after.inverse_dynamics_sha256, "clip_frames": 4}


def test_sums_of_another_model_are_not_taken(tmp_path: Path) -> None:
    sums: ActionSums = {"generated": np.ones((3, 4)), "recorded": np.zeros((3, 4))}
    write_action_sums(tmp_path, "walk", "1-1-aa", sums)
    found = read_action_sums(tmp_path, "walk", "1-1-aa")
    assert set(found) == set(sums) and np.array_equal(found["generated"], sums["generated"])
    assert not read_action_sums(tmp_path, "walk", "1-1-bb") and not read_action_sums(tmp_path, "other", "1-1-aa")
    (tmp_path / "actions.parts" / "walk.npz").write_bytes(b"PK cut short")
    with pytest.raises(UserError, match=r"walk\.npz: cannot be read"):
        read_action_sums(tmp_path, "walk", "1-1-aa")


def test_ranks_tell_what_one_process_tells(
    pipeline: Pipeline, inverse_dynamics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = pipeline.evaluate(*TWO, "--metrics", "psnr", "--batch-size", "1")
    command += ["--inverse-dynamics", str(inverse_dynamics)]
    assert main([*command, "--protocol", "one-rank"]) == 0
    monkeypatch.setattr(signs_of_life, "SILENCE_SECONDS", 0.5)
    folder = pipeline.diffusion / "evaluation" / "two-ranks"
    score, told = action_following.score_actions, []

    def counted(model, episode, *arguments):
        told.append(episode.key)
        return score(model, episode, *arguments)

    monkeypatch.setattr(action_following, "score_actions", counted)
    for rank, code in ((1, 0), (0, 0)):
        for name, value in (("WORLD_SIZE", "2"), ("RANK", str(rank)), ("LOCAL_RANK", str(rank))):
            monkeypatch.setenv(name, value)
        assert main([*command, "--protocol", "two-ranks"]) == code
        # Each its own episode.
        assert told == list(reversed(Card.read(folder / "card.json").episodes))[: 2 - rank]
    one = pipeline.diffusion / "evaluation" / "one-rank"
    assert read_actions(folder) == read_actions(one)
    assert Summary.read(folder / "summary.json").actions == Summary.read(one / "summary.json").actions
    assert Card.read(folder / "card.json").metrics == Card.read(one / "card.json").metrics


def test_models_of_another_kind_are_refused(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    command = pipeline.evaluate("--protocol", "refused", "--inverse-dynamics", str(pipeline.tokenizer))
    assert main(command) == 2
    assert "inverse_dynamics" in capsys.readouterr().err
