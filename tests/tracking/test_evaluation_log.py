"""What an evaluation puts into the W&B run of its training, and what happens where that cannot be."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from benchmarks.synthetic_run import make_run
from mstv.cli.evaluation_tracking import track
from mstv.compare.comparison import Comparison
from mstv.compare.curves import panels
from mstv.data.results import Summary
from mstv.tracking.wandb_run import wandb_id
from tests.wandb_offline import OfflineRun, read_offline_runs

pytestmark = pytest.mark.filterwarnings("ignore")
NewRun = Callable[..., Path]


@pytest.fixture
def new_run(tmp_path: Path) -> NewRun:
    def make(name: str = "run", **config: object) -> Path:
        folder = make_run(tmp_path / name, revisits=True, drift=True)
        evaluation = folder / "evaluation" / "long"
        (evaluation / "side_by_side").mkdir()
        for path in (evaluation / "videos").glob("*.mp4"):
            (evaluation / "side_by_side" / path.name).write_bytes(path.read_bytes())
        values = {"wandb": True, "wandb_project": "walks", "wandb_offline": True, "trainer": {"logger": None}}
        (folder / "config.yaml").write_text(yaml.safe_dump(values | config))
        return folder

    return make


def lines_of(run: OfflineRun) -> dict[str, dict[float, float]]:
    axis = "evaluation/long/horizon"
    return {name: run.line(name, axis) for name, of in run.axes.items() if of == axis and name != axis}


def test_lines_tables_numbers_and_videos(new_run: NewRun, capsys: pytest.CaptureFixture[str]) -> None:
    folder = new_run()
    track(folder, "long", wanted=None)
    assert not capsys.readouterr().out, "it was not trained with W&B"
    track(folder, "long", wanted=True)
    (run,) = read_offline_runs(folder)
    assert run.id == wandb_id(folder)
    assert capsys.readouterr().out == (
        f"{folder}: the evaluation is in {folder}/wandb, run {run.id}, on this machine alone: "
        f"wandb sync {folder}/wandb/offline-run-* uploads it\n"
    )

    comparison = Comparison.read([folder])
    expected = {
        f"evaluation/long/{panel.metric.name}/{panel.ground_truth}/{curve.series}": dict(
            zip(curve.horizon.tolist(), curve.mean.tolist(), strict=True)
        )
        for panel in panels(comparison, averaged=True)
        for curve in panel.curves
    }
    lines = lines_of(run)
    for name, line in expected.items():
        assert lines.pop(name) == pytest.approx(line), name
    assert sorted(lines) == [f"evaluation/long/fid/raw/{s}" for s in ("generated", "lower_bound", "upper_bound")]
    assert {f"evaluation/long/psnr/raw/{s}" for s in ("generated", "lower_bound", "upper_bound")} <= expected.keys()

    horizons = [row["evaluation/long/horizon"] for row in run.history if "evaluation/long/horizon" in row]
    assert horizons == sorted(set(horizons)) and (horizons[0], horizons[-1]) == (1, 24)

    summary = Summary.read(folder / "evaluation/long/summary.json")
    psnr = next(part for part in summary.values if (part.metric, part.series) == ("psnr", "generated"))
    for window in psnr.horizons:
        assert list(run.column(f"evaluation/long/psnr_h{window.horizon}").values()) == [window.value]
    assert list(run.column("evaluation/long/psnr_pooled").items()) == [(1450, psnr.pooled)], "at the training's step"
    assert run.column("evaluation/long/revisit_psnr_own") and run.column("evaluation/long/frames_per_second")

    (scores,), (revisits,) = run.files("evaluation/long/scores"), run.files("evaluation/long/revisits")
    rows = [dict(zip(t["columns"], row, strict=True)) for t in [json.loads(scores.read_text())] for row in t["data"]]
    wanted = {"metric": "psnr", "against": "raw", "series": "generated", "horizon": "all"}
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    assert psnr.overall and psnr.overall.interval
    assert [row["value"], row["low"], row["high"]] == pytest.approx([psnr.overall.value, *psnr.overall.interval])
    kept = json.loads(revisits.read_text())
    assert len(kept["data"]) == sum(len(means.gaps) + 1 for means in summary.revisits) > 0

    for key in ("walk-0", "walk-1"):
        (video,) = run.files(f"evaluation/long/video/{key}")
        assert video.suffix == ".mp4"
        assert video.read_bytes() == (folder / f"evaluation/long/side_by_side/{key}.mp4").read_bytes()
    assert run.config["evaluation/long"]["checkpoint_sha256"] == "a" * 64 and run.config["wandb_project"] == "walks"


def test_only_what_is_new_is_logged_again(new_run: NewRun, capsys: pytest.CaptureFixture[str]) -> None:
    folder = new_run()
    for _ in range(2):
        track(folder, "long", wanted=True)
    assert capsys.readouterr().out.count("the evaluation is in ") == 1
    path = folder / "evaluation/long/summary.json"
    summary = Summary.read(path)
    added = [part.model_copy(update={"metric": "fvd"}) for part in summary.values if part.metric == "fid"]
    summary.model_copy(update={"values": (*summary.values, *added)}).write(path)
    track(folder, "long", wanted=None)
    first, *_, last = read_offline_runs(folder)
    assert first.id == last.id
    assert sorted(lines_of(last)) == [
        f"evaluation/long/fvd/raw/{s}" for s in ("generated", "lower_bound", "upper_bound")
    ]
    assert not lines_of(last).keys() & lines_of(first).keys()
    assert last.files("evaluation/long/scores") and not last.files("evaluation/long/video/walk-0")


def test_it_never_fails_the_evaluation(new_run: NewRun, capsys: pytest.CaptureFixture[str]) -> None:
    folder = new_run()
    (folder / "wandb").write_text("not a folder")
    (folder / "evaluation/long/tracked.json").write_text("{")
    track(folder, "long", wanted=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mstv: the evaluation is not logged (") and "are whole" in line
    track(folder, "long", wanted=False)
    assert not capsys.readouterr().err
