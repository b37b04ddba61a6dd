"""`mstv-data stats`: what a set of raw episodes or of frame shards adds up to, without reading a video."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_tools import options
from data_tools.episode_set import is_sharded, open_set
from data_tools.parallel import Bar, run_tasks
from data_tools.set_statistics import ActionStatistics, SetStatistics, SplitStatistics
from data_tools.tally import Tally
from mstv.data.revisits import Tolerance
from mstv.errors import UserError

GAPS = (64, 128, 256, 512)
"""Frames; revisit rates are given for these and for the one that the user names."""
_BAR_WIDTH = 24  # characters


def set_statistics(
    folder: Path, revisit_gap: int = 64, tolerance: Tolerance | None = None, workers: int = 2
) -> SetStatistics:
    """Statistics of a set; the same for any number of workers.

    Args:
        folder: of raw episodes or of frame shards.
        revisit_gap: a further gap, in frames, for which revisits are counted.
        tolerance: of a revisit.
        workers: processes.

    Raises:
        UserError: no set in `folder`, or one that is damaged.
    """
    tolerance = tolerance or Tolerance()
    parts = open_set(folder)
    gaps = sorted({*GAPS, revisit_gap})
    tallies: dict[int, Tally] = {}
    with Bar("stats", len(parts), "parts") as bar:
        for index, tally in run_tasks(Tally.of_part, [(part, gaps, tolerance) for part in parts], workers):
            tallies[index] = tally
            bar.advance(tally.frames)
    splits = {
        split: Tally.sum(tallies[index] for index, part in enumerate(parts) if part.split == split)
        for split in dict.fromkeys(part.split for part in parts)
    }
    total = Tally.sum(tallies[index] for index in range(len(parts)))
    return SetStatistics(
        source=folder.resolve().name,
        kind="frames" if is_sharded(parts) else "raw",
        fps=tuple(sorted(total.fps)),
        image_sizes=tuple(sorted(total.image_sizes)),
        position_tolerance=tolerance.position,
        angle_tolerance=tolerance.angle,
        splits=tuple(tally.statistics(split) for split, tally in splits.items()),
        total=total.statistics("all"),
        actions=tuple(total.actions[name].statistics() for name in sorted(total.actions)),
    )


def tables(found: SetStatistics) -> Iterator[Table | str]:
    """What is printed: a table of the splits, one of revisits, and one for each kind of actions."""
    sizes = ", ".join(f"{height}x{width}" for height, width in found.image_sizes)
    rates = ", ".join(f"{fps:g}" for fps in found.fps)
    what = "frame shards" if found.kind == "frames" else "raw episodes (splits: as `mstv-data shard` makes them)"
    yield f"{found.source}: {what}, {sizes} pixels, {rates} frames/s"
    rows = [*found.splits, found.total] if len(found.splits) > 1 else [found.total]
    yield _splits_table(rows)
    if found.total.revisit_rate is None:
        yield "no poses: no distance, no turning and no revisits"
    else:
        tolerance = f"{found.position_tolerance:g} blocks and {found.angle_tolerance:g} degrees"
        yield (
            "Blocks walked, share of frames that turn, and revisit rate: the share of frames whose pose, within\n"
            f"{tolerance}, was seen more than N frames earlier:"
        )
        yield _walks_table(rows)
    for actions in found.actions:
        if actions.kind == "none":
            yield f"{actions.episodes:,} episodes without actions"
            continue
        null = "" if actions.null is None else f", {_percent(actions.null)} of them null"
        yield f"{actions.kind.capitalize()} actions of {actions.frames:,} frames (first frames left out){null}:"
        yield _discrete_table(actions) if actions.kind == "discrete" else _vector_table(actions)


def _splits_table(rows: list[SplitStatistics]) -> Table:
    table = _table("split", "episodes", "worlds", "frames", "hours", "size")
    for row in rows:
        table.add_row(
            row.split,
            f"{row.episodes:,}",
            f"{row.worlds:,}",
            f"{row.frames:,}",
            f"{row.hours:.2f}" if row.hours >= 0.1 else f"{row.hours:.4f}",
            _size(row.num_bytes),
        )
    return table


def _walks_table(rows: list[SplitStatistics]) -> Table:
    gaps = list(rows[-1].revisit_rate or {})
    table = _table("split", "walked", "turning", *(f"N={gap}" for gap in gaps))
    for row in rows:
        rates = row.revisit_rate or {}
        walked = "-" if row.distance is None else f"{row.distance:,.0f}"
        table.add_row(row.split, walked, _percent(row.turning), *(_percent(rates.get(gap)) for gap in gaps))
    return table


def _discrete_table(actions: ActionStatistics) -> Table:
    table = _table("action", "frames", "share")
    table.add_column("", no_wrap=True)
    most = max((count.share for count in actions.counts), default=0.0) or 1.0
    for count in actions.counts:
        bar = "█" * round(_BAR_WIDTH * count.share / most)
        # Names come from files: as Text they are no markup.
        table.add_row(Text(count.name), f"{count.frames:,}", _percent(count.share), bar)
    return table


def _vector_table(actions: ActionStatistics) -> Table:
    table = _table("column", "mean", "std", "min", "max", "not zero", "unit")
    for column in actions.columns:
        values = (column.mean, column.std, column.minimum, column.maximum)
        cells = [f"{value:.3g}" for value in values]
        table.add_row(Text(column.name), *cells, _percent(column.nonzero), Text(column.unit))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="left" if name == "unit" else "right", no_wrap=True)
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _size(num_bytes: int) -> str:
    size = float(num_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data stats`."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of raw episodes or of frame shards")
    parser.add_argument(
        "--revisit-gap",
        type=options.positive,
        default=64,
        metavar="N",
        help=f"count poses seen more than N frames earlier, beside {GAPS} (default: 64)",
    )
    default = Tolerance()
    parser.add_argument(
        "--position-tolerance",
        type=float,
        default=default.position,
        metavar="BLOCKS",
        help=f"poses are the same up to this distance (default: {default.position:g})",
    )
    parser.add_argument(
        "--angle-tolerance",
        type=float,
        default=default.angle,
        metavar="DEGREES",
        help=f"and up to this difference of yaw and of pitch (default: {default.angle:g})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write them as JSON")
    options.add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data stats`."""
    if arguments.json and arguments.json.is_dir():
        raise UserError(f"{arguments.json}: is a folder: give --json the name of a file")
    tolerance = Tolerance(arguments.position_tolerance, arguments.angle_tolerance)
    found = set_statistics(arguments.folder, arguments.revisit_gap, tolerance, arguments.workers)
    if arguments.json:
        found.write(arguments.json)
    console = Console(markup=False, highlight=False)
    for table in tables(found):
        console.print(table, soft_wrap=isinstance(table, str))
    return 0
