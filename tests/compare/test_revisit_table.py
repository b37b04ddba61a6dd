"""What the runs show where the walk comes back."""

from dataclasses import replace

from rich.console import Console

from mstv.compare.comparison import Comparison
from mstv.compare.revisit_table import ELSEWHERE, revisit_tables
from mstv.data.results import RevisitMeans
from tests.compare.test_compare import command
from tests.compare.test_page import write

RUNS = {"num_episodes": 3, "context": 8, "end": 48, "videos": False, "revisits": True}


def means(comparison: Comparison, run: int, **wanted: str) -> RevisitMeans:
    wanted = {"metric": "psnr", "series": "generated", "seen_in": "anywhere", **wanted}
    (found,) = [
        part
        for part in comparison.entries[run].evaluation.summary.revisits
        if all(getattr(part, name) == value for name, value in wanted.items())
    ]
    return found


def test_tables_hold_the_summaries_by_gap(new_run):
    comparison = Comparison.read([new_run("first", **RUNS), new_run("second", 2.0, **RUNS)])
    tables = revisit_tables(comparison)
    assert [(table.metric.name, table.reference) for table in tables] == [
        (metric, reference) for metric in ("psnr", "ssim") for reference in ("raw", "own")
    ]
    raw, own = tables[:2]
    assert raw.title == "PSNR (dB) against the recorded frame"
    assert raw.columns == own.columns == ("32–63", "all")
    assert [row.label for row in raw.rows] == [
        "upper bound (decoded true latents)",
        "first",
        "second",
        "lower bound (shuffled true latents)",
        "frames (episodes)",
    ]
    assert [row.label for row in own.rows[1:5]] == [
        "first",
        "second",
        f"first: {ELSEWHERE}",
        f"second: {ELSEWHERE}",
    ]
    for table in (raw, own):
        for run in (0, 1):
            part = means(comparison, run, reference=table.reference)
            row = table.rows[1 + run]
            assert row.run == run and row.series == "generated"
            for cell, number in zip(row.cells, (part.gaps[0], part.overall), strict=True):
                assert cell is not None and cell.value == f"{number.value:.2f}"
                assert number.interval is not None
                assert cell.interval == f"{number.interval[0]:.2f} – {number.interval[1]:.2f}"
                assert cell.best == (run == 1)
    other = means(comparison, 0, reference="elsewhere")
    assert own.rows[3].cells[-1].value == f"{other.overall.value:.2f}"
    assert own.rows[3].series != "generated", "it is no run: not the best, and not sorted"
    assert [cell.value for cell in raw.rows[-1].cells] == ["24 (3)", "24 (3)"]


def test_bins_that_some_runs_lack_are_empty(new_run):
    longer = RUNS | {"end": 80}  # of which the last frames come back after more than 64
    first, second = new_run("first", **RUNS), new_run("second", **longer)
    summary = first / "evaluation" / "long" / "summary.json"
    other = second / "evaluation" / "long" / "summary.json"
    other.write_bytes(summary.read_bytes().replace(b'"first_gap": 32', b'"first_gap": 64'))
    comparison = Comparison.read([first])
    entry = comparison.entries[0]
    mixed = Comparison(comparison.protocol, (entry, Comparison.read([second]).entries[0]))
    raw = revisit_tables(mixed)[0]
    assert raw.columns == ("32–63", "64–127", "all")
    assert [cell is None for cell in raw.rows[1].cells] == [False, True, False]
    assert [cell is None for cell in raw.rows[2].cells] == [True, False, False]


def test_all_bins_fit_a_terminal(new_run, capsys):
    comparison = Comparison.read([new_run("a-run-of-a-rather-long-name", **RUNS)])
    table = revisit_tables(comparison)[0]
    gaps = ("8–15", "16–31", "32–63", "64–127", "128–255", "256–511", "512+", "all")
    rows = [replace(row, cells=(replace(row.cells[-1], value="100.00"),) * len(gaps)) for row in table.rows]
    rows[-1] = replace(rows[-1], cells=(replace(rows[-1].cells[-1], value="12345 (8)"),) * len(gaps))
    Console(width=80).print(replace(table, columns=gaps, rows=tuple(rows)).for_terminal())
    lines = capsys.readouterr().out.splitlines()
    assert "…" not in "".join(lines) and all(line.rstrip()[-1] in "┓┃┩│┘" for line in lines[2:]), lines
    assert all(gap in "".join(lines) for gap in gaps) and sum(line.count("12345") for line in lines) == len(gaps)


def test_page_and_terminal_show_them_where_there_are_any(new_run, tmp_path, capsys):
    runs = [new_run("first", **RUNS), new_run("second", 2.0, **RUNS)]
    value = means(Comparison.read(runs), 1, reference="own").overall.value
    assert command(*runs, "--out", tmp_path / "page.html") == 0
    printed = capsys.readouterr().out
    assert "Revisits, PSNR (dB) against the recorded frame" in " ".join(printed.split())
    assert f"{value:.2f}" in printed
    page = write(runs, tmp_path / "pages" / "compare.html")
    assert "revisits" in page.ids and f"{value:.2f}" in page.text and f"first: {ELSEWHERE}" in page.text
    plain = new_run("plain", **RUNS | {"revisits": False})
    page = write([plain], tmp_path / "pages" / "plain.html")
    assert "revisits" not in page.ids and revisit_tables(Comparison.read([plain])) == []
