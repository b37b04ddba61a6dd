"""The revisits that a training logs of its rollouts are those that `mstv evaluate` finds of the same rollouts."""

from pathlib import Path

import pytest
import yaml

from mstv.callbacks import rollout_generation
from mstv.cli.main import main
from mstv.data.results import read_run
from mstv.data.results.training_rollout import TrainingRollout
from tests.cli.conftest import Pipeline

END = 100


def test_a_training_logs_what_mstv_evaluate_says(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first walk of that split comes back; the one of validation does not.
    monkeypatch.setattr(rollout_generation, "SPLIT", "test")
    run = tmp_path / "run"
    fit = pipeline.fit_diffusion(run, "--trainer.max_steps", "2")
    config = pipeline.root / "diffusion.yaml"
    values = yaml.safe_load(config.read_text())
    for callback in values["trainer"]["callbacks"]:
        if callback["class_path"].endswith("LongRollout"):
            callback["init_args"]["end_frame"] = END
    config.write_text(yaml.safe_dump(values))
    assert main(fit) == 0
    logged = TrainingRollout.read(run / "media" / "rollout-0000002.json")
    span = ["--context", "64", "--end", str(END), "--nfe", "2", "--episodes", "1", "--split", "test"]
    options = ["--protocol", "same", "--sampler", "dpm_solver", "--metrics", "psnr", "ssim"]
    assert main(["evaluate", str(run), *span, *options]) == 0
    evaluation = read_run(run).evaluation("same")
    card, summary = evaluation.card, evaluation.summary
    assert summary is not None
    for name in ("episodes", "split", "context_frames", "end_frame", "seed", "sampler", "nfe", "plan", "attention"):
        assert getattr(logged.card, name) == getattr(card, name), name
    for name in ("tokenizer_sha256", "latents_sha256", "data_sha256", "image_size", "fps"):
        assert getattr(logged.card, name) == getattr(card, name), name

    assert {note.name: note for note in logged.card.metrics} == {note.name: note for note in card.metrics}

    assert {means.metric for means in logged.revisits} == {"psnr", "ssim"}
    assert {means.reference for means in logged.revisits} == {"raw", "decoded", "own", "elsewhere"}
    tables = [
        {(part.metric, part.reference, part.series, part.seen_in): part for part in source.revisits}
        for source in (logged, summary)
    ]
    assert tables[0].keys() == tables[1].keys()
    for kind, ours in tables[0].items():
        theirs = tables[1][kind]
        for mine, other in zip((ours.overall, *ours.gaps), (theirs.overall, *theirs.gaps), strict=True):
            assert mine.value == pytest.approx(other.value, rel=1e-4), kind
            assert (mine.first_gap, mine.num_frames) == (other.first_gap, other.num_frames)
    (scored,) = [
        part for part in summary.values if (part.metric, part.ground_truth, part.series) == ("psnr", "raw", "generated")
    ]
    assert scored.overall is not None
    assert sum(logged.psnr["generated"]) / (END - 64) == pytest.approx(scored.overall.value, rel=1e-3)
