"""metrics.csv of a run that is killed and resumed."""

import csv
import time
from pathlib import Path

import pytest
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mstv.callbacks.metrics_csv import MetricsCSV


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_new_columns_keep_old_rows(tmp_path: Path) -> None:
    logger = MetricsCSV(tmp_path)
    for step in range(12):
        logger.log_metrics({"loss": step / 2}, step)
    logger.log_metrics({"psnr": 20.0}, 12)
    logger.finalize("success")
    found = rows(tmp_path)
    assert [int(row["step"]) for row in found] == list(range(13))
    assert found[3]["loss"] == "1.5" and found[3]["psnr"] == ""
    assert found[12]["psnr"] == "20.0" and found[12]["loss"] == ""


def test_resume_drops_what_is_logged_again(tmp_path: Path) -> None:
    first = MetricsCSV(tmp_path)
    for step in range(20):
        first.log_metrics({"loss": 1.0}, step)
    first.save()
    resumed = MetricsCSV(tmp_path)
    for step in range(15, 25):
        resumed.log_metrics({"loss": 2.0}, step)
    resumed.save()
    found = rows(tmp_path)
    assert [int(row["step"]) for row in found] == list(range(25))
    assert [float(row["loss"]) for row in found] == [1.0] * 15 + [2.0] * 10


def test_a_run_that_logs_nothing_leaves_the_file(tmp_path: Path) -> None:
    first = MetricsCSV(tmp_path)
    first.log_metrics({"loss": 1.0}, 0)
    first.save()
    MetricsCSV(tmp_path).finalize("success")
    assert len(rows(tmp_path)) == 1


def test_what_is_logged_of_one_step_is_one_row(tmp_path: Path) -> None:
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"loss": 1.0}, 4)
    logger.log_metrics({"rate": 2.0}, 4)
    logger.log_metrics({"loss": 3.0}, 9)
    logger.save()
    logger.log_metrics({"rate": 4.0}, 9)
    logger.save()
    assert rows(tmp_path) == [
        {"step": "4", "loss": "1.0", "rate": "2.0"},
        {"step": "9", "loss": "3.0", "rate": ""},
        {"step": "9", "loss": "", "rate": "4.0"},
    ]


def test_rows_after_the_checkpoint_are_dropped_before_the_next_is_logged(tmp_path: Path) -> None:
    """A rollout between checkpoint and kill, at a step before the first that is logged again."""
    first = MetricsCSV(tmp_path)
    for step in (9, 19, 22):
        first.log_metrics({"loss": 1.0}, step)
    first.save()
    resumed = MetricsCSV(tmp_path)
    resumed.begin(20)
    resumed.log_metrics({"loss": 2.0}, 29)
    resumed.save()
    assert [row["step"] for row in rows(tmp_path)] == ["9", "19", "29"]


def test_a_row_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    first = MetricsCSV(tmp_path)
    first.log_metrics({"loss": 1.0}, 9)
    first.save()
    path = tmp_path / "metrics.csv"
    # Of step 1200.
    path.write_text(path.read_text() + "12")
    resumed = MetricsCSV(tmp_path)
    resumed.begin(1000)
    resumed.save()
    assert path.read_text().splitlines() == ["step,loss", "9,1.0"]


def test_other_ranks_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = MetricsCSV(tmp_path)
    logger.begin(0)
    logger.log_metrics({"loss": 1.0}, 0)
    logger.finalize("success")
    assert list(tmp_path.iterdir()) == []


def test_a_long_run_is_no_burden(tmp_path: Path) -> None:
    """200,000 steps logged every 50, 45 numbers each, saved each time, and opened again."""
    logger = MetricsCSV(tmp_path)
    began = time.perf_counter()
    for step in range(49, 200_000, 50):
        logger.log_metrics({f"loss{number}": step / 7 for number in range(45)}, step)
        logger.save()
    seconds = time.perf_counter() - began
    assert seconds / 4000 < 0.005
    began = time.perf_counter()
    MetricsCSV(tmp_path).begin(200_000)
    assert time.perf_counter() - began < 5
    assert len(rows(tmp_path)) == 4000
