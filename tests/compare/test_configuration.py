"""Settings of runs beside each other."""

import pytest

from mstv.compare.comparison import Comparison
from mstv.compare.configuration import configurations
from mstv.data import results
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
