"""`mstv compare`: which runs may share a page, and what it shows."""

import argparse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mstv.cli import compare
from mstv.compare.comparison import Comparison
from mstv.compare.curves import SPREAD, panels
from mstv.compare.plot import plot_curves
from mstv.compare.score_table import score_tables
from mstv.data import results
from mstv.errors import UserError


def command(*arguments: object) -> int:
    parser = argparse.ArgumentParser(prog="mstv compare")
    compare.add_arguments(parser)
    return compare.run(parser.parse_args([str(argument) for argument in arguments]))


def test_command_prints_the_numbers_and_writes_the_page(new_run, tmp_path, capsys):
    run = new_run("first", videos=False)
    assert command(run, "--out", tmp_path / "out" / "page.html", "--title", "Two <models>") == 0
    printed = capsys.readouterr().out
    value = score_tables(Comparison.read([run]))[0].rows[1].cells[0]
    assert value is not None and value.value in printed and "upper bound" in printed
    page = (tmp_path / "out" / "page.html").read_text()
    assert "<title>Two &lt;models&gt;</title>" in page
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["page.html"]  # no temporary file is left


def test_no_runs_is_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        command()
    assert "RUN" in capsys.readouterr().err


def test_default_protocol_is_the_only_common_one(new_run, tmp_path):
    first, second = new_run("first", videos=False), new_run("second", videos=False)
    new_run("first", videos=False, protocol="short")
    assert Comparison.read([first, second]).protocol == "long"
    new_run("second", videos=False, protocol="short")
    with pytest.raises(UserError, match=r"several protocols \(long, short\): choose one with --protocol"):
        Comparison.read([first, second])
    assert Comparison.read([first, second], "short").protocol == "short"
    with pytest.raises(UserError, match="share no protocol"):
        Comparison.read([first, new_run("third", videos=False, protocol="other")])
    (tmp_path / "fresh" / "checkpoints").mkdir(parents=True)
    with pytest.raises(UserError, match=r"fresh: has no evaluation: run mstv evaluate"):
        Comparison.read([first, tmp_path / "fresh"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"end": 40}, "end_frame"),
        ({"num_episodes": 3}, "episodes"),
        ({"data_sha256": "f" * 64}, "data_sha256"),
        ({"protocol_version": 2}, "protocol_version"),
    ],
)
def test_different_protocols_never_share_a_page(new_run, tmp_path, change, field):
    runs = [new_run("first", videos=False), new_run("second", videos=False, **change)]
    with pytest.raises(UserError, match=rf"second/evaluation/long: field {field} differs"):
        command(*runs, "--out", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_same_run_twice_and_same_names(new_run):
    run = new_run("a/model", videos=False)
    with pytest.raises(UserError, match="more than once"):
        Comparison.read([run, run / "..", run.parent / "model"][::2])
    other = new_run("b/model", videos=False)
    assert [entry.label for entry in Comparison.read([run, other]).entries] == ["a/model", "b/model"]


def test_half_written_evaluation_is_named_or_left_out(new_run, tmp_path, capsys):
    whole, half, fresh = new_run("whole", videos=False), new_run("half", videos=False), tmp_path / "fresh"
    (results.evaluation_folder(half, "long") / results.SUMMARY).unlink()
    (fresh / "checkpoints").mkdir(parents=True)
    with pytest.raises(UserError, match=r"half/evaluation/long: .*half-written \(summary.json is missing\): run"):
        Comparison.read([half])
    with pytest.raises(UserError, match=r"half/.*half-written.*--skip-incomplete \(2 of 3 runs are incomplete\)"):
        Comparison.read([whole, half, fresh], "long")
    with pytest.raises(UserError, match=r"fresh: has no evaluation"):
        Comparison.read([whole, fresh])
    comparison = Comparison.read([half, whole, fresh], skip_incomplete=True)
    assert [entry.label for entry in comparison.entries] == ["whole"] and len(comparison.left_out) == 2
    assert command(whole, half, fresh, "--skip-incomplete", "--out", tmp_path / "page.html") == 0
    told = capsys.readouterr().err
    assert told.count("left out: ") == 2 and "half-written" in told and "fresh" in told
    page = (tmp_path / "page.html").read_text()
    assert "2 of 3 runs" in page and "half-written" in page
    for runs in ([half], [half, fresh], [fresh]):
        with pytest.raises(UserError):
            Comparison.read(runs, skip_incomplete=True)


def test_output_that_is_a_folder_is_refused(new_run, tmp_path):
    with pytest.raises(UserError, match=r"is a folder: give the name of a file"):
        command(new_run("first", videos=False), "--out", tmp_path)


def test_only_a_page_is_overwritten(new_run, tmp_path):
    run = new_run("first", videos=False)
    precious = tmp_path / "run.json"
    precious.write_text("{}")
    with pytest.raises(UserError, match=r"--out .*run\.json: must end in \.html, \.htm$"):
        command(run, "--out", precious)
    other = tmp_path / "notes.html"
    other.write_text("{}")
    with pytest.raises(UserError, match=r"--out .*notes\.html: there is a file that is not an HTML page"):
        command(run, "--out", other)
    assert precious.read_text() == other.read_text() == "{}"
    for _ in range(2):
        assert command(run, "--out", tmp_path / "page.HTML") == 0


@pytest.mark.parametrize("out", ["/sys/x.html", "/proc/x.html", "/proc/mstv/x.html"])
def test_a_place_that_cannot_be_written_is_told_first(new_run, out, capsys):
    with pytest.raises(UserError, match=rf"^--out {out}: cannot be written \(.*\): choose another$"):
        command(new_run("first", videos=False), "--out", out)
    assert not capsys.readouterr().out


def test_curves_are_means_of_the_scores(new_run):
    comparison = Comparison.read(
        [new_run("first", videos=False, truths=("raw", "decoded")), new_run("second", 2.0, videos=False)]
    )
    drawn = panels(comparison)
    assert [(panel.metric.name, panel.ground_truth) for panel in drawn[:2]] == [("psnr", "raw"), ("ssim", "raw")]
    curves = {(curve.series, curve.run): curve for curve in drawn[0].curves}
    assert set(curves) == {("generated", 0), ("generated", 1), ("upper_bound", None), ("lower_bound", None)}
    table = comparison.entries[1].scores
    rows = [row for row in table.to_pylist() if row["metric"] == "psnr" and row["series"] == "generated"]
    curve = curves["generated", 1]
    for horizon in (1, 24):
        expected = np.mean([row["value"] for row in rows if row["horizon"] == horizon])
        assert curve.mean[list(curve.horizon).index(horizon)] == pytest.approx(expected)
    assert (
        curve.interval is not None
        and (curve.interval[0] <= curve.mean).all()
        and (curve.mean <= curve.interval[1]).all()
    )


def test_bounds_are_drawn_per_run_where_tokenizers_differ(new_run):
    runs = [new_run("first", videos=False), new_run("second", videos=False, tokenizer_sha256="e" * 64)]
    runs.append(new_run("third", videos=False, tokenizer_sha256="e" * 64))
    curves = [curve for curve in panels(Comparison.read(runs))[0].curves if curve.series == "upper_bound"]
    assert [(curve.run, curve.runs) for curve in curves] == [(0, (0,)), (1, (1, 2))]
    assert [curve.label.split(":")[0] for curve in curves] == ["first", "second and 1 more"]
    rows = [row.label for row in score_tables(Comparison.read(runs))[0].rows]
    assert len(rows) == 7 and rows[1] == curves[1].label


def test_best_run_is_marked(new_run):
    runs = [new_run("weak", 0.0, videos=False), new_run("strong", 5.0, videos=False)]
    for table in score_tables(Comparison.read(runs)):
        assert table.columns[:4] == ("1", "16", "24", "all")
        marked = {row.label: [cell.best for cell in row.cells if cell] for row in table.rows}
        assert all(marked.pop("strong")) and not any(any(cells) for cells in marked.values())


def test_best_is_lower_or_nearer_to_zero_where_it_is(new_run):
    runs = [new_run("weak", 0.0, videos=False, drift=True), new_run("strong", 5.0, videos=False, drift=True)]
    tables = {table.metric.name: table for table in score_tables(Comparison.read(runs))}
    assert list(tables) == ["psnr", "ssim", "colour_drift", "sharpness", "fid", "token_drift"]
    for name, table in tables.items():
        marked = {row.label: [cell.best for cell in row.cells if cell] for row in table.rows}
        assert all(marked["strong"]) and not any(marked["weak"]), name
    assert tables["colour_drift"].title == "Colour drift against raw frames (lower is better)"
    assert tables["token_drift"].ground_truth == "latents" and "against true latents" in tables["token_drift"].title
    assert tables["fid"].columns == ("16", "24"), "a distance has no mean over horizons"
    assert [row.cells[0].value for row in tables["fid"].rows if row.cells[0]] == ["5.00", "60.00", "55.00", "90.00"]


def test_numbers_by_other_weights_never_share_a_page(new_run):
    def metrics(weights: str) -> list[dict[str, object]]:
        notes = [{"name": "psnr", "aggregation": "mean"}, {"name": "ssim", "aggregation": "mean"}]
        return [notes[0], notes[1] | {"definition": {"weights": weights}}]

    runs = [new_run(name, videos=False, metrics=metrics(name)) for name in ("first", "second")]
    with pytest.raises(UserError, match=r"second/.*: field metrics \(ssim\) differs"):
        Comparison.read(runs)


def test_averaged_curves_are_means_over_neighbouring_horizons(new_run):
    comparison = Comparison.read([new_run("first", videos=False, end=200)])
    every, few = (panels(comparison, averaged)[0].curves[0] for averaged in (False, True))
    assert few.horizon[0] == 1 and few.horizon[-1] == 192 and len(few.horizon) < 60 < len(every.horizon)
    assert few.mean[0] == every.mean[0]
    at = list(few.horizon).index(192)
    window = (every.horizon >= 192 / SPREAD) & (every.horizon <= 192 * SPREAD)
    assert few.mean[at] == pytest.approx(every.mean[window].mean())
    assert few.interval is not None and (few.interval[0] <= few.mean).all() and (few.mean <= few.interval[1]).all()


def test_plot_is_a_png_of_some_size(new_run, tmp_path):
    picture = tmp_path / "pictures" / "curves.png"
    folder = results.evaluation_folder(new_run("first", videos=False), "long")
    plot_curves(folder, picture)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 20_000
    plot_curves(results.evaluation_folder(new_run("drift", videos=False, drift=True), "long"), picture)
    with Image.open(picture) as drawn:
        assert drawn.height > 1000, "five metrics are two rows"
    with pytest.raises(UserError, match="give run/evaluation/<protocol>"):
        plot_curves(folder.parents[1], Path(picture))
