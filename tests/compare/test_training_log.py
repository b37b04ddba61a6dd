"""Training curves from metrics.csv."""

import pytest

from mstv.compare.training_log import MAX_POINTS, TrainingLog, read_training_log
from mstv.data import results
from mstv.errors import UserError


def test_training_log_is_sparse_and_thinned(new_run, tmp_path):
    log = read_training_log(new_run("first", videos=False) / results.TRAINING)
    assert log.num_steps == 1451, "steps are counted from 0"
    curves = {curve.name: curve for curve in log.curves}
    assert list(curves) == ["train/loss", "val/loss", "lr-AdamW"]
    assert len(curves["train/loss"].value) == 30 and len(curves["val/loss"].value) == 6
    assert curves["val/loss"].step == [200, 450, 700, 950, 1200, 1450]
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n" + "".join(f"{i},{i % 2}\n" for i in range(2 * MAX_POINTS)) + "5000,nan\n")
    (curve,) = read_training_log(path).curves
    assert curve.values_per_point == 3 and len(curve.value) <= MAX_POINTS
    assert curve.value[0] == pytest.approx(1 / 3) and curve.value[-1] is None
    path.write_text("step,loss\n1,high\n")
    with pytest.raises(UserError, match=r"metrics.csv: line 2, column loss: 'high'"):
        read_training_log(path)
    path.write_text("loss\n1\n")
    with pytest.raises(UserError, match="column step is missing"):
        read_training_log(path)
    assert read_training_log(tmp_path / "none.csv") == TrainingLog()


def test_time_of_training_is_that_of_its_steps(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,throughput/step_seconds,loss\n9,2,1\n19,,1\n29,0.5,1\n39,nan,1\n")
    assert read_training_log(path).seconds == 10 * 2 + 20 * 0.5
    path.write_text("step,loss\n9,1\n")
    assert read_training_log(path).seconds is None
