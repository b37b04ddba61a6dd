"""metrics.csv of a run that is killed and resumed."""

import csv
from pathlib import Path

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
