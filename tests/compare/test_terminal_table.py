"""Tables in a terminal of 80 columns."""

import pytest
from rich.console import Console

from mstv.compare.score_table import Cell, Row, terminal_table

ACCURACY = tuple(f"accuracy {horizon}" for horizon in (1, 16, 64, 256))
ACTIONS = (*ACCURACY, "accuracy", "macro F1", "F1 forward", "F1 turn_left", "F1 turn_right")


@pytest.mark.parametrize(("columns", "parts"), [(("1", "16", "all"), 1), (ACTIONS, 2)])
def test_every_column_is_shown_beside_its_run(
    columns: tuple[str, ...], parts: int, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [f"0.{index:03d}" for index in range(len(columns))]
    rows = [
        Row("run", "generated", 0, tuple(map(Cell, values))),
        Row("lower bound", "lower_bound", None, (None,) * len(columns)),
    ]
    Console(width=80).print(terminal_table("Title", columns, rows))
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert printed.count("Title") == 1 and printed.count("lower bound") == parts
    assert all(value in printed for value in values)
    assert all(column in printed for column in columns) and "…" not in printed and max(map(len, lines)) <= 80
