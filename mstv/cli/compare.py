"""`mstv compare`: several runs -> one table and one page."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.description = (
        "Compare evaluated runs: a table here, and one HTML page with curves, numbers, cost, settings and synchronised "
        "videos. Reads result files alone: see docs/compare.md."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--protocol", help="evaluation to compare; not needed where the runs share only one")
    parser.add_argument("--out", type=Path, default=Path("compare.html"), help="the page (default: %(default)s)")
    parser.add_argument(
        "--skip-incomplete",
        action="store_true",
        help="leave out runs without a finished evaluation; the page says which, and why",
    )
    parser.add_argument("--title", help="heading of the page")
    parser.add_argument(
        "--embed", action="store_true", help="put the videos into the page, so that it can be sent alone"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table, write the page; returns 0.

    Raises:
        UserError: see `check_output`, `Comparison.read` and `write_page`.
    """
    from rich.console import Console

    from mstv.compare.action_table import action_tables
    from mstv.compare.comparison import Comparison
    from mstv.compare.cost import cost_table
    from mstv.compare.page import write_page
    from mstv.compare.revisit_table import revisit_tables
    from mstv.compare.score_table import score_tables
    from mstv.data.output_file import PAGE, check_output

    check_output(arguments.out, [PAGE])
    comparison = Comparison.read(arguments.runs, arguments.protocol, arguments.skip_incomplete)
    console = Console()
    for reason in comparison.left_out:
        print(f"left out: {reason}", file=sys.stderr)
    for table in score_tables(comparison):
        console.print(table.for_terminal())
    for revisits in revisit_tables(comparison):
        console.print(revisits.for_terminal())
    for actions in action_tables(comparison):
        console.print(actions.for_terminal())
    console.print(cost_table(comparison).for_terminal())
    write_page(comparison, arguments.out, arguments.title, arguments.embed)
    console.print(f"{arguments.out}: open it in a browser", highlight=False, markup=False)
    return 0
