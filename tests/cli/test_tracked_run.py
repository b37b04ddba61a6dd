"""A run that `mstv fit` and `mstv evaluate` made holds in W&B, and in trackio, what docs/wandb.md promises."""

import json
from pathlib import Path

import pytest

from mstv.cli.main import main
from mstv.compare.comparison import Comparison
from mstv.compare.curves import panels
from mstv.data.results import Card
from tests.cli.conftest import Pipeline
from tests.trackio_store import LOGGER, logged, needs_trackio, run_with_store, stored
from tests.wandb_offline import OfflineRun, read_offline_runs

pytestmark = pytest.mark.filterwarnings("ignore")
PROTOCOL = "tiny"


@pytest.fixture(scope="module")
def run(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps, a rollout after them, an evaluation."""
    folder = tmp_path_factory.mktemp("tracked") / "diffusion"
    options = ["--wandb", "true", "--wandb_checkpoints", "true", "--trainer.max_steps", "2"]
    assert main(pipeline.fit_diffusion(folder, *options)) == 0
    command, _, *rest = pipeline.evaluate("--end", "84", "--protocol", PROTOCOL, "--metrics", "psnr", "colour_drift")
    assert main([command, str(folder), *rest]) == 0
    return folder


@pytest.fixture(scope="module")
def parts(run: Path) -> tuple[OfflineRun, OfflineRun]:
    """The training's and the evaluation's."""
    training, evaluation = read_offline_runs(run)
    assert training.id == evaluation.id, "wandb sync makes one run of them"
    return training, evaluation


def test_the_training(run: Path, parts: tuple[OfflineRun, OfflineRun]) -> None:
    training, _ = parts
    names = {name for row in training.history for name in row}
    assert training.config["levels"] and training.config["record"]["data"]["manifest_sha256"]
    (plan,) = training.files("plan")
    assert plan.read_bytes() == (run / "plan.png").read_bytes()
    assert {"train/loss", "throughput/tokens_per_second", "rollout/psnr_h4"} <= names
    assert [name for name in names if name.startswith("train/loss_level")]
    (video,) = (run / "media").glob("rollout-blockworld*.mp4")
    key = video.name.removeprefix("rollout-").removesuffix("-0000002.mp4")
    assert [file.read_bytes() for file in training.files(f"rollout/{key}")] == [video.read_bytes()]
    axis = "rollout_after_2/horizon"
    for series in ("generated", "upper_bound", "lower_bound"):
        name = f"rollout_after_2/psnr/{series}"
        assert training.axes[name] == axis and list(training.line(name, axis)) == [1, 2, 3, 4, 5, 6]
    files = json.loads((run / "media/rollout-0000002.json").read_text())
    assert training.line("rollout_after_2/psnr/upper_bound", axis)[1] == pytest.approx(
        files["psnr"]["upper_bound"][0], abs=1e-3
    )


def test_checkpoints_on_request(run: Path, parts: tuple[OfflineRun, OfflineRun], pipeline: Pipeline) -> None:
    training, evaluation = parts
    ((name, files),) = training.artifacts_of_type("model").items()
    assert name == f"checkpoints-{training.id}" and set(files) == {"last.ckpt", "best.ckpt"}
    assert not evaluation.artifacts_of_type("model")
    for options in (["--wandb", "false"], ["--wandb", "true", "--trainer.logger", "false"]):
        assert main(pipeline.fit_diffusion(run.parent / "other", "--wandb_checkpoints", "true", *options)) == 2


def test_the_evaluation(run: Path, parts: tuple[OfflineRun, OfflineRun]) -> None:
    _, evaluation = parts
    group = f"evaluation/{PROTOCOL}"
    kinds = set()
    for panel in panels(Comparison.read([run]), averaged=True):
        for curve in panel.curves:
            name = f"{group}/{panel.metric.name}/{panel.ground_truth}/{curve.series}"
            assert evaluation.axes[name] == f"{group}/horizon"
            line = dict(zip(curve.horizon.tolist(), curve.mean.tolist(), strict=True))
            assert evaluation.line(name, f"{group}/horizon") == pytest.approx(line), name
            kinds.add((panel.metric.name, curve.series))
    series = ("generated", "upper_bound", "lower_bound")
    assert kinds == {(metric, one) for metric in ("psnr", "colour_drift") for one in series}
    for table in ("scores", "revisits"):
        (file,) = evaluation.files(f"{group}/{table}")
        assert json.loads(file.read_text())["data"], table
    card = Card.read(run / f"evaluation/{PROTOCOL}/card.json")
    assert evaluation.config[group] == card.model_dump(mode="json")
    (video,) = evaluation.files(f"{group}/video/{card.episodes[0]}")
    assert video.read_bytes() == (run / f"evaluation/{PROTOCOL}/side_by_side/{card.episodes[0]}.mp4").read_bytes()
    assert list(evaluation.column(f"{group}/psnr_h16")) == [1], "at the last step of the training"


@needs_trackio
@pytest.mark.slow
def test_trackio_by_one_option(pipeline: Pipeline, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for name in ("a", "b"):
        options = ["--trainer.logger", LOGGER, "--trainer.logger.project", "walks", "--trainer.max_steps", "2"]
        run_with_store(store, "-m", "mstv.cli.main", *pipeline.fit_diffusion(tmp_path / name, *options))
        assert (tmp_path / name / "metrics.csv").is_file() and not (tmp_path / name / "wandb").exists()
    rows_of = logged(store)
    assert sorted(rows_of) == ["a", "b"]
    for name, rows in rows_of.items():
        assert [row["step"] for row in rows if "train/loss" in row] == [0, 1]
        (video,) = (tmp_path / name / "media").glob("rollout-blockworld*.mp4")
        key = video.name.removeprefix("rollout-").removesuffix("-0000002.mp4")
        assert stored(store, rows, f"rollout/{key}") == [video.read_bytes()]
        assert [row["step"] for row in rows if "rollout_after_2/psnr/generated" in row] == [1, 2, 3, 4, 5, 6]
