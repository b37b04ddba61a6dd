"""The report that `mstv report` saves, built without account and network."""

import json
from pathlib import Path

import pytest

from benchmarks.synthetic_run import make_run
from mstv.cli.main import main
from mstv.compare.comparison import Comparison
from mstv.tracking import report
from mstv.tracking.evaluation_log import Tracked, TrackedRun


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [make_run(tmp_path / name, quality, revisits=True, drift=True) for name, quality in (("a", 0.0), ("b", 2.0))]


def test_it_lays_runs_out_by_horizon(runs: list[Path]) -> None:
    pytest.importorskip("wandb_workspaces")
    built = report.build_report(Comparison.read(runs), ["id-a", "id-b"], "walks", "somebody", "Walks")
    spec = json.loads(built._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))
    titles = [block["children"][0]["text"] for block in spec["blocks"] if block["type"] == "heading"]
    assert titles[:5] == ["Against the horizon", "By horizon", "Horizon 1", "Horizon 16", "Horizon 24"]
    assert titles[5:] == ["Where the walk comes back", "Videos", "Training", "Settings that differ"]
    grids = [block["metadata"] for block in spec["blocks"] if block["type"] == "panel-grid"]
    for grid in grids:
        (runs_shown,) = grid["runSets"]
        assert all(name in json.dumps(runs_shown["filters"]) for name in ("id-a", "id-b"))
    panels = grids[0]["panelBankSectionConfig"]["panels"]
    (psnr,) = [panel["config"] for panel in panels if "PSNR" in panel["config"].get("chartTitle", "")]
    series = ("generated", "upper_bound", "lower_bound")
    assert psnr["metrics"] == [f"evaluation/long/psnr/raw/{name}" for name in series]
    assert psnr["xAxis"] == "evaluation/long/horizon" and psnr["xLogScale"]
    text = json.dumps(spec)
    for name in ("psnr_h16", "fid_h24", "revisit_psnr_own", "video/walk-0"):
        assert f"evaluation/long/{name}" in text, name
    assert "train/loss" in text


def test_without_the_package(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(report.UserError, match="pip install 'mstv\\[report\\]'"):
        report.build_report(Comparison.read(runs), ["a", "b"], "walks", "somebody", "Walks")


def test_mistakes_get_one_line(
    runs: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(runs[0] / "nobody"))

    def error(*options: str) -> str:
        assert main(["report", *map(str, runs), *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert f"{runs[0]}/evaluation/long: is in no W&B run: run the same mstv evaluate" in error()
    for run in runs:
        (run / "wandb" / f"offline-run-20260101_000000-id{run.name}").mkdir(parents=True)
        lines = {f"id{run.name}": TrackedRun(summary_sha256="0" * 64, lines=())}
        Tracked(runs=lines).write(run / "evaluation/long/tracked.json")
    assert "wandb login" in error()
    (runs[1] / "config.yaml").write_text("wandb_project: other\n")
    assert f"several projects of W&B ({runs[0]} in mstv, {runs[1]} in other)" in error()
