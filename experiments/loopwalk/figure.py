"""The curves of the LoopWalk table: PSNR by horizon and by how long ago a place was seen, and the trainings' losses.

Command:  python -m experiments.loopwalk.figure experiments/loopwalk/results.json docs/loopwalk.png
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from mstv.data.output_file import PNG, check_output
from mstv.data.schema import atomic_path
from mstv.errors import UserError

Who = tuple[str, str | None]
"""Plan and attention."""
BOUNDS = {"upper_bound": ("upper bound", "--"), "lower_bound": ("lower bound", ":")}


def draw(results: dict[str, Any], path_png: Path) -> None:
    """Draw the picture of a results.json.

    A plan has one color. Its line is the mean over its seeds; its band reaches from the lowest to the highest
    end of their 95 % intervals over episodes. A training loss is a line, a validation loss a row of dots,
    for each seed.
    """
    figure = Figure(figsize=(11, 7.6), layout="constrained")
    (by_horizon, by_gap), (look_back, losses) = figure.subplots(2, 2)
    colors = _colors(results["rows"])
    _lines(by_horizon, results["rows"], "horizon", colors)
    by_horizon.set_xlabel("horizon h (frames since the last true one; mean over (h/2, h])")
    _lines(by_gap, [row for row in results["revisits"] if row["seen_in"] == "anywhere"], "first_gap", colors)
    by_gap.set_xlabel("frames since the place was last seen, at least")
    bounds = [row for row in results["look_back"] if row["seen_in"] == "context" and row["plan"] in BOUNDS]
    _lines(look_back, bounds, "first_gap", colors)
    _returns(look_back, results["returns"], colors)
    look_back.set_xlabel("frames since the context showed the place")
    _losses(losses, results["losses"], colors)
    for axes, title in (
        (by_horizon, "all frames"),
        (by_gap, "revisits, walking on"),
        (look_back, "looking away and back, first seed (filled: the plan sees it)"),
        (losses, "losses of training (lines) and validation (dots)"),
    ):
        axes.set_title(title, fontsize=10, loc="left")
    for axes in (by_horizon, by_gap, look_back):
        axes.set_ylabel("PSNR (dB) against recorded frames")
        axes.set_ylim(_range([*results["rows"], *results["revisits"], *results["look_back"]]))
    handles, labels = by_horizon.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    protocol = results["protocol"]
    figure.suptitle(f"LoopWalk {protocol['set']}: {len(protocol['episodes'])} test episodes", fontsize=10)
    with atomic_path(path_png) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _range(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Of all means, so that the pictures share an axis."""
    values = [row["psnr"] for row in rows if row["psnr"] is not None]
    return min(values) - 1, max(values) + 1


def _colors(rows: list[dict[str, Any]]) -> dict[Who, str]:
    who = dict.fromkeys((row["plan"], row["attention"]) for row in rows)
    plans = [one for one in who if one[0] not in BOUNDS]
    return {one: f"C{plans.index(one)}" if one in plans else "#6b7280" for one in who}


def _returns(axes: Axes, returns: list[dict[str, Any]], colors: dict[Who, str]) -> None:
    """Each return as a dot, of the first seed of each plan: filled if the plan sees the place when it draws it."""
    first: dict[Who, dict[str, Any]] = {}
    for row in returns:
        if row["plan"] not in BOUNDS:
            first.setdefault((row["plan"], row["attention"]), row)
    for who, row in first.items():
        for seen, face in ((True, colors[who]), (False, "none")):
            chosen = [i for i, one in enumerate(row["seen"]) if one == seen]
            x, y = ([row[name][i] for i in chosen] for name in ("gaps", "psnr"))
            axes.plot(x, y, "o", color=colors[who], markerfacecolor=face, markersize=4, alpha=0.6, markeredgewidth=0.8)


def _losses(axes: Axes, rows: list[dict[str, Any]], colors: dict[Who, str]) -> None:
    for row in rows:
        color = colors[row["plan"], row["attention"]]
        axes.plot(row["train_steps"], row["train_loss"], color=color, linewidth=1)
        axes.plot(row["validation_steps"], row["validation_loss"], "o", color=color, markersize=3)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.set_xlabel("steps")
    axes.set_ylabel("mean squared error of v")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _lines(axes: Axes, rows: list[dict[str, Any]], name: str, colors: dict[Who, str]) -> None:
    points: dict[Who, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["psnr"] is not None and (row["interval"] or [None])[0] is not None:  # of two episodes or more
            points[row["plan"], row["attention"]][row[name]].append(row)
    for who, line in points.items():
        plan, attention = who
        title, dash = BOUNDS.get(plan, (plan.replace("_", " "), "-"))
        x = sorted(line)
        mean = [sum(row["psnr"] for row in line[at]) / len(line[at]) for at in x]
        title += ", joint attention" if attention == "joint" else ""
        marker = None if plan in BOUNDS else "o"
        axes.plot(x, mean, dash, color=colors[who], marker=marker, markersize=3, label=title)
        if plan not in BOUNDS:
            ends = [[end for row in line[at] for end in row["interval"]] for at in x]
            low, high = ([pick(part) for part in ends] for pick in (min, max))
            axes.fill_between(x, low, high, color=colors[who], alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _read(path: Path) -> dict[str, Any]:
    """A results.json; raises UserError unless it has what `draw` takes."""
    try:
        found = json.loads(path.read_bytes())
        rows = [*found["rows"], *found["revisits"], *found["look_back"]]
        revisits = [*found["revisits"], *found["look_back"]]
        complete = all({"seen_in", "first_gap"} <= row.keys() for row in revisits)
        complete = complete and all({"plan", "attention", "psnr", "interval"} <= row.keys() for row in rows)
        complete = complete and all(
            {"plan", "attention", "gaps", "psnr", "seen"} <= row.keys() for row in found["returns"]
        )
        complete = complete and {"set", "episodes"} <= found["protocol"].keys()
        curves = {"plan", "attention", "train_steps", "train_loss", "validation_steps", "validation_loss"}
        complete = complete and all(curves <= row.keys() for row in found["losses"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: no results.json of experiments.loopwalk.table ({error})") from None
    if not complete:
        raise UserError(f"{path}: no results.json of experiments.loopwalk.table (fields are missing)")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.loopwalk.figure", description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("png", type=Path)
    arguments = parser.parse_args(argv)
    try:
        check_output(arguments.png, [PNG], "png")
        draw(_read(arguments.results), arguments.png)
    except UserError as error:
        print(f"figure: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
