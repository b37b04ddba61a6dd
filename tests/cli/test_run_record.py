"""What a run leaves behind in its folder and in W&B, read back."""

import csv
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from mstv.cli.main import main
from mstv.data.results.training import TrainingRecord
from mstv.data.schema import read_manifest
from tests.cli.conftest import Pipeline
from tests.wandb_offline import OfflineRun, read_offline_run

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def run(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusion run of two steps, and of two more after a resume."""
    folder = tmp_path_factory.mktemp("record") / "diffusion"
    for steps in ("2", "4"):
        assert main(pipeline.fit_diffusion(folder, "--wandb", "true", "--trainer.max_steps", steps)) == 0
    return folder


def offline_runs(folder: Path) -> list[OfflineRun]:
    return [read_offline_run(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def test_record_of_every_start(run: Path, pipeline: Pipeline) -> None:
    record = TrainingRecord.read(run / "run.json")
    assert [start.step for start in record.starts] == [0, 2]
    manifest = read_manifest(pipeline.latents, "latents")
    for start in record.starts:
        assert start.data.manifest_sha256 == manifest.sha256
        assert start.data.source_sha256 == read_manifest(pipeline.shards, "frames").sha256
        assert start.data.tokenizer == manifest.tokenizer
        assert start.versions["torch"] == torch.__version__ and start.ranks == 1
        assert "measured, fp32" in start.peak
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert record.kind == "diffusion"
    assert record.parameters["total"] == sum(value.numel() for value in weights.values())
    parts = {name: count for name, count in record.parameters.items() if name != "total"}
    assert len(parts) > 3 and sum(parts.values()) == record.parameters["total"]
    assert Image.open(run / "plan.png").size[0] > 800


def test_record_of_a_tokenizer(pipeline: Pipeline) -> None:
    record = TrainingRecord.read(pipeline.tokenizer / "run.json")
    assert record.kind == "tokenizer" and set(record.parameters) == {"total", "tokenizer.encoder", "tokenizer.decoder"}
    assert record.starts[0].data.manifest_sha256 == read_manifest(pipeline.shards, "frames").sha256
    assert not (pipeline.tokenizer / "plan.png").exists()


def test_wandb_holds_configuration_record_and_plan(run: Path) -> None:
    first, second = offline_runs(run)
    assert first.id == second.id
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert {name: second.config[name] for name in config} == config
    record = TrainingRecord.read(run / "run.json")
    for wandb_run, start in zip((first, second), record.starts, strict=True):
        noted = wandb_run.config["record"]
        assert noted["parameters"] == record.parameters
        assert {name: noted[name] for name in type(start).model_fields} == start.model_dump(mode="json")
    (picture,) = [row for row in first.history + second.history if "plan.filenames" in row]
    (name,) = picture["plan.filenames"]
    assert (first.folder / name).read_bytes() == (run / "plan.png").read_bytes()


def test_wandb_holds_what_metrics_csv_does(run: Path) -> None:
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("step", "epoch")]
    assert not [name for name in names if "group" in name]
    expected = ["train/loss", "train/learning_rate", "throughput/tokens_per_second", "validation/loss"]
    assert set(expected) <= set(names) and [name for name in names if name.startswith("train/loss_t0.")]
    histories = [part.column for part in offline_runs(run)]
    for name in names:
        written = {int(row["step"]): float(row[name]) for row in rows if row[name]}
        logged = {step: value for column in histories for step, value in column(name).items()}
        assert logged == pytest.approx(written), name
    assert [int(row["step"]) for row in rows if row["train/loss"]] == [0, 1, 2, 3]
    # The clock starts after the first step of a process.
    assert [int(row["step"]) for row in rows if row["throughput/step_seconds"]] == [1, 3]


def test_rollouts_are_in_wandb_at_their_steps(run: Path) -> None:
    files: dict[str, dict[int, Path]] = {}
    for part in offline_runs(run):
        for row in part.history:
            for name, value in row.items():
                if name.startswith("rollout/") and name.endswith((".videos", ".filenames", ".path")):
                    path = {".videos": lambda v: v[0]["path"], ".filenames": lambda v: v[0], ".path": str}
                    suffix = name[name.rindex(".") :]
                    of_steps = files.setdefault(name.removeprefix("rollout/"), {})
                    of_steps[row["trainer/global_step"]] = part.folder / path[suffix](value)
    (key,) = [name.removesuffix(".videos") for name in files if name.startswith("blockworld")]
    kinds = {f"{key}.videos", f"levels-{key}.videos", "curves.filenames", "levels.filenames", "psnr_table.path"}
    assert kinds <= files.keys() <= kinds | {"revisits.path"}
    for name, of_steps in files.items():
        assert list(of_steps) == [1, 3] and all(path.is_file() for path in of_steps.values()), name
    for name, suffix in ((key, "mp4"), (f"levels-{key}", "mp4"), ("curves", "png"), ("levels", "png")):
        of_steps = files[f"{name}.{'videos' if suffix == 'mp4' else 'filenames'}"]
        for logged, step in ((1, 2), (3, 4)):
            assert of_steps[logged].read_bytes() == (run / f"media/rollout-{name}-{step:07d}.{suffix}").read_bytes()
