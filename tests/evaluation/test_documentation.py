"""docs/metrics.md names every metric and every file."""

import re
from pathlib import Path

from mstv.cli.signs_of_life import SILENCE_SECONDS
from mstv.data.results.summary import SUMMARY_HORIZONS
from mstv.evaluation.metric_set import METRICS, WEIGHTS, default_metrics

TEXT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def test_every_metric_and_file_is_told() -> None:
    rows = [line.split("|")[1:4] for line in TEXT.splitlines() if line.startswith("| `")]
    named = {name: cells[1].strip() for cells in rows for name in re.findall(r"`(\w+)`", cells[0])}
    assert set(named) == set(METRICS)
    told = {name: cells[1] for cells in rows[-len(WEIGHTS) :] for name in re.findall(r"`(\w+)`", cells[0])}
    assert {name: f"`{file.name}`" for name, file in WEIGHTS.items()} == {n: cell.strip() for n, cell in told.items()}
    by_default = [cells[0] for cells in rows if cells[1].startswith((" yes", " with"))]
    defaults = set(re.findall(r"`(\w+)`", "".join(by_default)))
    assert set(default_metrics()) | {"keypoint_matches"} == defaults
    assert ", ".join(map(str, SUMMARY_HORIZONS)) in TEXT
    assert SILENCE_SECONDS == 120 and "two minutes" in TEXT
