"""What a perfect model of each plan could know of a set: how far back it sees, and which places it can keep alive.

A frame is known if the step that draws it sees its place: in the true context, or in a frame that is itself known.

Command:  python -m experiments.loopwalk.reach mini loopwalk/mini
"""

import argparse
import sys

import numpy as np

from data_tools import options
from experiments.loopwalk.frozen_set import read_sets
from experiments.loopwalk.results import HORIZONS
from experiments.loopwalk.rows import CONTEXT, END, ROWS
from experiments.loopwalk.sight import known_frames, sight
from mstv.cli.experiment import Experiment
from mstv.data.latent_shards import LatentStore
from mstv.errors import UserError
from mstv.rollout.plan import Plan


def plans(size: str) -> dict[str, Plan]:
    """The plan of each row of the table."""
    experiments = {row.plan: Experiment.read(row.layers(size)) for row in ROWS}
    return {name: one.family.plan(one.levels.num_tokens(0)) for name, one in experiments.items()}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.loopwalk.reach", description=__doc__.split("\n")[0])
    parser.add_argument("size", choices=sorted(read_sets()))
    parser.add_argument("folder", type=options.folder, help="that experiments.loopwalk.run made")
    arguments = parser.parse_args()
    try:
        store = LatentStore(arguments.folder / "latents")
        poses = [found for key in store.keys("test") if (found := store.poses(key)) is not None]
    except UserError as error:
        print(f"reach: {error}", file=sys.stderr)
        return 2
    titles = "".join(f"{f'h = {h}':>9}" for h in HORIZONS)
    print(f"{'plan':<20}{'sees back':>12}{titles}   of {len(poses)} test walks")
    for name, plan in plans(arguments.size).items():
        seen = sight(plan, CONTEXT, END)
        back = [frame - min(frames) for frame, frames in seen.items()]
        share = np.mean([known_frames(each[:END], CONTEXT, seen)[CONTEXT:] for each in poses], 0)
        numbers = "".join(f"{share[h // 2 : h].mean():>9.2f}" for h in HORIZONS)
        print(f"{name:<20}{f'{min(back)} to {max(back)}':>12}{numbers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
