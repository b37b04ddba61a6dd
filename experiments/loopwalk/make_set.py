"""Make a frozen set of LoopWalk, bit for bit the same each time, or find it made.

Command:  python -m experiments.loopwalk.make_set mini loopwalk/mini
Hardware: mini 2 to 6 minutes, standard 20 to 40 of two CPU cores. Ctrl-C loses seconds; the same command goes on.
"""

import argparse
import sys
from pathlib import Path

from data_tools import options
from data_tools.composition import Splitting
from data_tools.episode import RawEpisodes
from data_tools.recorder import record
from data_tools.sharding import Sharding, make_shards
from experiments.loopwalk.frozen_set import SETS, FrozenSet, claim, read_sets, sign, write_sets
from mstv.errors import UserError
from mstv.termination import EXIT_CODE, Terminated, terminable

RAW, SHARDS = "raw", "shards"


def make_set(frozen: FrozenSet, folder: Path, workers: int = 2) -> bool:
    """Record what is missing, compare all with the frozen checksums, and pack `folder`/shards.

    Returns:
        Whether the set is frozen, so that it was compared.

    Raises:
        UserError: the recording differs from the frozen set, or the folder is of another one or cannot be written.
    """
    claim(folder, frozen)
    record(folder / RAW, frozen.recording, frozen.num_episodes, workers, command=" ".join(sys.argv))
    records = RawEpisodes(folder / RAW).records
    same = frozen.check(records)
    if same:
        sign(folder, frozen)
    worlds = {split: tuple(records[key].source.world for key in frozen.keys(split)) for split in frozen.splits}
    make_shards(folder / RAW, folder / SHARDS, Sharding(splitting=Splitting(worlds=worlds)), workers)
    return same


def main() -> int:
    """The command."""
    sets = read_sets()
    parser = argparse.ArgumentParser(prog="python -m experiments.loopwalk.make_set", description=__doc__.split("\n")[0])
    parser.add_argument("size", choices=sorted(sets))
    parser.add_argument("folder", type=options.folder, help="made if absent; the shards stand in its `shards`")
    parser.add_argument(
        "--freeze", action="store_true", help=f"write the checksums of a set that has none yet into {SETS.name}"
    )
    parser.add_argument("--workers", type=options.positive, default=2)
    arguments = parser.parse_args()
    frozen = sets[arguments.size]
    try:
        with terminable():
            same = make_set(frozen, arguments.folder, arguments.workers)
        if arguments.freeze and not same:
            sets[arguments.size] = frozen.frozen(RawEpisodes(arguments.folder / RAW).records)
            write_sets(sets)
            sign(arguments.folder, sets[arguments.size])
    except UserError as error:
        print(f"make_set: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        return EXIT_CODE if isinstance(stop, Terminated) else 130
    worlds = ", ".join(f"{part.episodes} worlds to {name}" for name, part in frozen.splits.items())
    state = "checksums agree" if same else "checksums written" if arguments.freeze else "not frozen yet"
    print(f"{arguments.folder}: {worlds}; {state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
