"""`mstv`: one command, its parts imported only when asked for."""

import importlib
import sys
from collections.abc import Sequence

from mstv.errors import OneLineParser, UserError
from mstv.termination import EXIT_CODE, Terminated, terminable

COMMANDS = {
    "fit": "train a tokenizer or a diffusion transformer from a YAML",
    "encode": "write latent shards of a set of frame shards with a trained tokenizer",
    "rollout": "generate long videos from context frames and the recorded actions",
    "evaluate": "score rollouts against horizon, with upper and lower bounds",
    "compare": "several runs -> one table and one page",
    "report": "several runs -> a report in Weights & Biases",
    "plan": "what the plans of experiments cost, and their picture",
    "plan-training": "parameters, memory and hours of a training, before it is started",
    "convert": "load a published checkpoint into ours",
    "demo": "the whole pipeline, from recording to the page, on this machine",
}


def parser() -> OneLineParser:
    """The parser of the command line, without the options of its commands."""
    result = OneLineParser(
        prog="mstv",
        description="Multi-scale token video: long-consistent video world models. See also `mstv-data --help`.",
    )
    commands = result.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, help_text in COMMANDS.items():
        commands.add_parser(name, help=help_text, add_help=False)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0, 2 for a user's mistake (one line on stderr), 130 after Ctrl-C, 143 after SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    known, _ = parser().parse_known_args(arguments)
    try:
        command = importlib.import_module(f"mstv.cli.{known.command.replace('-', '_')}")
        rest = arguments[arguments.index(known.command) + 1 :]
        if known.command in ("fit", "plan-training"):  # they hand options on, and a training saves before it ends
            return command.run(rest)
        options = OneLineParser(prog=f"mstv {known.command}", description=COMMANDS[known.command])
        command.add_arguments(options)
        with terminable():
            return command.run(options.parse_args(rest))
    except UserError as error:
        sys.stderr.write(f"mstv: error: {error}\n")  # one write: the lines of several ranks must not mix
        return 2
    except Terminated:
        print("\nmstv: terminated; the same command goes on from here", file=sys.stderr)
        return EXIT_CODE
    except KeyboardInterrupt:
        print("\nmstv: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
