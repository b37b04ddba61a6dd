"""Settings of runs beside each other."""

import pytest

from mstv.compare.comparison import Comparison
from mstv.compare.configuration import configurations
from mstv.data import results
from mstv.data.results import TrainingRecord
from mstv.errors import UserError


def test_settings_differ_by_their_names(new_run):
    runs = [new_run(name, videos=False) for name in ("first", "second", "third")]
    common = "model:\n  depth: 4\n  windows: [1, 4]\ncallbacks:\n- class_path: EMA\n"
    (runs[0] / results.CONFIG).write_text(f"seed: 0\nrun: here\n{common}")
    (runs[1] / results.CONFIG).write_text(f"seed: 1\nrun: there\nextra: null\n{common}")
    found = configurations(Comparison.read(runs))
    assert [(row.field, row.cells) for row in found.different] == [
        ("seed", ("0", "1", "–")),
        ("extra", ("–", "None", "–")),
    ]
    assert {row.field: row.cells for row in found.equal} == {
        "model.depth": ("4",),
        "model.windows": ("[1, 4]",),
        "callbacks.0.class_path": ("EMA",),
    }
    assert found.missing == ("third",)
    (runs[0] / results.CONFIG).write_text("seed: [1\n")
    with pytest.raises(UserError, match=r"first/config.yaml: cannot be read as YAML \(line 2\)"):
        configurations(Comparison.read(runs))
    (runs[0] / results.CONFIG).write_text("a sentence")
    with pytest.raises(UserError, match="holds no settings"):
        configurations(Comparison.read(runs))


def test_what_ran_is_told_where_it_was_recorded(new_run):
    runs = [new_run(name, videos=False) for name in ("first", "second")]
    start = {
        "time": "2026-01-02T03:04:05+00:00",
        "step": 0,
        "versions": {},
        "ranks": 2,
        "device": "a GPU",
        "precision": "bf16-mixed",
        "peak": "1 TFLOP/s",
        "data": {"manifest_sha256": "a" * 64},
    }
    for run, dirty in zip(runs, (False, True), strict=True):
        git = {"commit": "0123456789abcdef", "dirty": dirty}
        record = TrainingRecord.model_validate(
            {"kind": "diffusion", "parameters": {"total": 2812345}, "starts": [{**start, "git": git}]}
        )
        record.write(run / results.RECORD)
    found = configurations(Comparison.read(runs))
    assert [(row.field, row.cells) for row in found.different] == [("code", ("0123456789ab", "0123456789ab, changed"))]
    equal = {row.field: row.cells[0] for row in found.equal}
    assert equal["parameters"] == "2,812,345" and equal["trained on"] == "a GPU, 2 processes, bf16-mixed"
    (runs[0] / results.RECORD).write_text("{")
    with pytest.raises(UserError, match=r"first/run.json: not valid JSON"):
        configurations(Comparison.read(runs))
