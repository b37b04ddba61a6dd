"""What a run costs, as far as its files know."""

import pytest
from rich.console import Console

from mstv.compare.comparison import Comparison
from mstv.compare.cost import cost_table, duration
from mstv.compare.score_table import score_tables
from mstv.data import results


def test_costs_are_what_the_files_know(new_run, capsys):
    first = new_run("first", videos=False)
    second = new_run("second", videos=False, training_rows=0, token_evaluations_per_frame=12.4)
    results.summarise(results.evaluation_folder(second, "long"))  # a resumed rollout has no wall clock
    table = cost_table(Comparison.read([first, second]))
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts[0][1:] == ["17,000", "3,840", "3.84", "12.5 s", "1,451", "unknown"]
    assert texts[1][1:] == ["12", "3,840", "unknown", "unknown", "unknown", "unknown"]
    assert table.rows[1][3].number is None
    mean = score_tables(Comparison.read([first]))[0].rows[1].cells[-2]
    assert mean is not None and texts[0][0] == mean.value
    Console(width=80).print(table.for_terminal())
    printed = capsys.readouterr().out
    assert (
        all(text in printed for text in texts[0][1:] if text != "12.5 s") and "…" not in printed
    )  # it fits a terminal


@pytest.mark.parametrize(("seconds", "text"), [(0.52, "0.52 s"), (119, "119 s"), (150, "2.5 min"), (36000, "10 h")])
def test_durations(seconds, text):
    assert duration(float(seconds)) == text
