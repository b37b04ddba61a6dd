"""The LoopWalk table from finished rows: results.json, and the same to read.

Command:  python -m experiments.loopwalk.table mini loopwalk/mini --out experiments/loopwalk/results.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from data_tools import options
from experiments.loopwalk.kept import with_kept
from experiments.loopwalk.results import results
from experiments.loopwalk.rows import EPISODES
from mstv.data.schema import atomic_path
from mstv.errors import UserError
from mstv.metrics.revisits import AWAY, GAPS


def write_results(
    size: str, folder: Path, out: Path | None = None, keep: Path | None = None, steps: int | None = None
) -> str:
    """Write results.json, by default into `folder`, and its tables in Markdown beside it; returns the tables.

    Args:
        size: `mini` or `standard`.
        folder: that the rows are in.
        out: the file.
        keep: another results.json, whose rows are taken where the folder has none of them.
        steps: of the trainings; None takes those of as many as the recipes say.

    Raises:
        UserError: as `results` and `with_kept`.
    """
    found = results(size, folder, steps)
    if keep is not None:
        found = with_kept(found, keep)
    text = markdown(found)
    out = out or folder / (f"results-{steps}.json" if steps else "results.json")
    for path, content in ((out, _json(found)), (out.with_suffix(".md"), text)):
        with atomic_path(path) as temporary:
            temporary.write_text(content)
    return text


def _json(found: dict[str, Any]) -> str:
    """With a line for each field of the protocol, and for each row of a list."""
    parts = []
    for name, value in found.items():
        is_list = isinstance(value, list)
        items = value if is_list else [f"{json.dumps(field)}: {json.dumps(one)}" for field, one in value.items()]
        lines = ",\n  ".join(json.dumps(item) if is_list else item for item in items)
        begin, end = "[]" if is_list else "{}"
        parts.append(f" {json.dumps(name)}: {begin}\n  {lines}\n {end}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def markdown(found: dict[str, Any]) -> str:
    """PSNR against horizon, differences of plans, and revisits by gap, a line for each row, a column for each step."""
    horizons = sorted({row["horizon"] for row in found["rows"]})
    budget = {_who(row): _cost(row) for row in found["rows"]}
    parts = [
        "PSNR in dB at horizon h (95 % interval over episodes).\n",
        _table(found["rows"], "horizon", [f"h = {h}" for h in horizons], budget),
        "\nDifference of two plans in dB (95 % interval), paired by episode, mean over common seeds.\n",
        _table(found["differences"], "horizon", [f"h = {h}" for h in horizons]),
    ]
    revisits = [row for row in found["revisits"] if row["seen_in"] == "anywhere"]
    gaps = sorted({row["first_gap"] for row in revisits})
    ends = [f"to {following - 1}" for following in gaps[1:]]
    titles = [f"{gap} {end}" for gap, end in zip(gaps, [*ends, "and more"], strict=False)]
    parts += [
        "\nPSNR in dB (95 % interval) of revisits as it walks on, by frames since the place was last seen.\n",
        _table(revisits, "first_gap", titles),
    ]
    if found["returns"]:
        parts += [
            "\nPSNR in dB (lowest to highest) of places after a look away, by frames since the context showed them.\n"
            "Bold: the plan sees all of them as it draws them.\n",
            _returns(found["returns"], found["protocol"]["context_frames"]),
            "\nThe same, and places that it passes as it begins to look away, by whether the plan sees them.\n",
            _seen(found["returns"]),
        ]
    return "\n".join(parts)


def _returns(rows: list[dict[str, Any]], context: int) -> str:
    """A column for each bin of gaps; the places are the same in every row."""
    gaps = np.array(rows[0]["gaps"])
    columns = np.where(np.array(rows[0]["frame"]) < context + AWAY, 0, np.digitize(gaps, GAPS))
    places = [columns == column for column in sorted(set(columns.tolist()) - {0})]
    head = ["plan", "attention, seed"]
    head += [f"{gaps[part].min()} to {gaps[part].max()} ({part.sum()} places)" for part in places]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [_spread(row, part) for part in places]
        seen = [row["seen"] is not None and np.array(row["seen"])[part].all() for part in places]
        cells = [f"**{cell}**" if sees else cell for cell, sees in zip(cells, seen, strict=True)]
        lines.append(f"| {' | '.join([*_who(row), *cells])} |")
    return "\n".join(lines) + "\n"


def _seen(rows: list[dict[str, Any]]) -> str:
    lines = ["| plan | attention, seed | places seen | PSNR | not seen | PSNR |", "|---" * 6 + "|"]
    for row in rows:
        if row["seen"] is not None:
            seen = np.array(row["seen"], bool)
            cells = [word for part in (seen, ~seen) for word in (str(part.sum()), _spread(row, part))]
            lines.append(f"| {' | '.join([*_who(row), *cells])} |")
    return "\n".join(lines) + "\n"


def _spread(row: dict[str, Any], places: Bool[np.ndarray, " P"]) -> str:
    psnr = np.array(row["psnr"])[places]
    return f"{psnr.mean():.1f} ({psnr.min():.1f} to {psnr.max():.1f})" if len(psnr) else ""


def _table(
    rows: list[dict[str, Any]],
    name: str,
    titles: list[str],
    budget: dict[tuple[str, str], list[str]] | None = None,
) -> str:
    columns = sorted({row[name] for row in rows})
    cost = ["tokens a step", "token evaluations a frame"] if budget else []
    head = ["plan", "attention, seed", *cost, *titles]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    cells: dict[tuple[str, str], dict[int, str]] = {}
    for row in rows:
        cells.setdefault(_who(row), {})[row[name]] = _psnr(row)
    for who, line in cells.items():
        words = [*who, *(budget[who] if budget else []), *(line.get(column, "") for column in columns)]
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines) + "\n"


def _who(row: dict[str, Any]) -> tuple[str, str]:
    if "minus" in row:
        return f"{row['plan']} - {row['minus']}", ", ".join(map(str, row["seeds"]))
    return row["plan"], "" if row["attention"] is None else f"{row['attention']}, {row['seed']}"


def _cost(row: dict[str, Any]) -> list[str]:
    return [f"{row[name]:.0f}" if row.get(name) else "" for name in ("tokens_per_step", "token_evaluations_per_frame")]


def _psnr(row: dict[str, Any]) -> str:
    low, high = row["interval"] or (None, None)
    return f"{row['psnr']:.2f}" if low is None else f"{row['psnr']:.2f} ({low:.1f} to {high:.1f})"


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.loopwalk.table", description=__doc__.split("\n")[0])
    parser.add_argument("size", choices=sorted(EPISODES))
    parser.add_argument("folder", type=options.folder, help="that experiments.loopwalk.run made")
    parser.add_argument("--out", type=options.folder, help="results.json (default: in the folder)")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="RESULTS",
        help="also the rows of this results.json that the folder lacks, of the same latents",
    )
    parser.add_argument(
        "--steps", type=options.positive, help="of rows that were trained for other than the usual steps"
    )
    arguments = parser.parse_args(argv)
    try:
        print(write_results(arguments.size, arguments.folder, arguments.out, arguments.keep, arguments.steps))
    except UserError as error:
        print(f"table: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
