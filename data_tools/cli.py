"""The `mstv-data` command: making, importing, packing and checking data sets."""

import argparse
import importlib
import io
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mstv.errors import OneLineParser, UserError
from mstv.termination import EXIT_CODE, Terminated, terminable


@dataclass(frozen=True)
class Command:
    """A subcommand: the module that holds its `add_arguments` and `run`, imported only when it is called."""

    module: str
    help: str


IMPORTERS = {
    "videos": Command("data_tools.importers.videos", "any folder of mp4, mkv, webm, avi or mov files; no actions"),
    "minerl": Command("data_tools.importers.minerl", "MineRL-v0 demonstrations"),
    "vpt": Command("data_tools.importers.vpt", "VPT contractor recordings: mp4 and jsonl"),
    "loopcraft": Command("data_tools.importers.loopcraft", "Loopcraft walks: mp4, npy and index.json"),
    "gamefactory": Command("data_tools.importers.gamefactory", "GF-Minecraft of GameFactory"),
    "loopnav": Command("data_tools.importers.loopnav", "LoopNav walks: avi or mp4 and json"),
    "worldmem": Command("data_tools.importers.worldmem", "WorldMem Minecraft: mp4 and npz"),
    "teco": Command("data_tools.importers.teco", "TECO Minecraft: mp4 and npz"),
}
"""Foreign formats; a new one is a module in `data_tools/importers` and a line here."""

COMMANDS: dict[str, Command | Mapping[str, Command]] = {
    "record": Command("data_tools.recorder", "let an engine and a policy make raw episodes"),
    "import": IMPORTERS,
    "shard": Command("data_tools.sharding", "pack raw episodes into frame shards, split by world"),
    "verify": Command("data_tools.verify", "read a set of shards again and check everything in it"),
    "preview": Command(
        "data_tools.preview", "a contact sheet and a page with playable clips, actions and trajectories"
    ),
    "stats": Command("data_tools.stats", "hours, worlds, action histogram and revisit rate of a set"),
    "doctor": Command("data_tools.doctor", "check what the engines need on this machine, and say what to do"),
}


class CommandModule(Protocol):
    """What the module of a command offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add its options."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; return the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `mstv-data`.

    Args:
        argv: arguments; by default those of the process.

    Returns:
        The exit code: 0; 2 for a mistake that the user can mend; 130 after Ctrl-C, 143 after SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what no encoding does
            stream.reconfigure(errors="backslashreplace")
    try:
        with terminable():
            try:
                return _run("mstv-data", __doc__ or "", COMMANDS, arguments)
            finally:
                sys.stdout.flush()
    except UserError as error:
        print(f"mstv-data: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # a reader such as `head` has enough; what is left goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        command = shlex.join(["mstv-data", *arguments])
        print(f"mstv-data: interrupted; what is complete stays, resume with: {command}", file=sys.stderr)
        return EXIT_CODE if isinstance(stop, Terminated) else 130


def _run(
    program: str, description: str, commands: Mapping[str, Command | Mapping[str, Command]], arguments: list[str]
) -> int:
    """Run the command that the first argument names, with the others."""
    parser = OneLineParser(
        prog=program,
        description=description,
        usage=f"{program} COMMAND ...",
        epilog=f"`{program} COMMAND --help` tells a command's options.",
    )
    group = parser.add_argument_group("commands")
    for name, command in commands.items():
        text = command.help if isinstance(command, Command) else f"import foreign data: {', '.join(command)}"
        group.add_argument(f"_{name}", metavar=name, nargs="?", help=text)
    if not arguments or arguments[0].startswith("-"):
        parser.parse_args(arguments or ["--help"])
    name, rest = arguments[0], arguments[1:]
    if name not in commands:
        parser.error(f"no command {name!r}: choose from {', '.join(commands)}")
    command = commands[name]
    if not isinstance(command, Command):
        return _run(f"{program} {name}", "Import foreign data as raw episodes.", command, rest)
    module: CommandModule = importlib.import_module(command.module)
    # An importer's docstring is the description of its format.
    is_import = command.module.startswith("data_tools.importers.")
    parser = OneLineParser(
        prog=f"{program} {name}",
        description=(module.__doc__ if is_import else f"{command.help[0].upper()}{command.help[1:]}."),
        formatter_class=argparse.RawDescriptionHelpFormatter if is_import else argparse.HelpFormatter,
    )
    module.add_arguments(parser)
    parsed = parser.parse_args(rest)
    if getattr(parsed, "cluster", None) is None and getattr(parsed, "cluster_address", None) is None:
        return module.run(parsed)
    # joblib and its clusters are imported only where one is asked for.
    from data_tools.cluster import running_on

    with running_on(parsed.cluster, parsed.cluster_address, parsed.workers):
        return module.run(parsed)


if __name__ == "__main__":
    sys.exit(main())
