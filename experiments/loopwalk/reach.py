"""What a perfect model of each plan could know of a set: how far back it sees, and which places it can keep alive.

A frame is known while its pose, the last visit of that pose, the visit before that and so on lie within the plan's
reach of each other, back to the true context.

Command:  python -m experiments.loopwalk.reach mini loopwalk/mini
"""

import argparse
import sys

import numpy as np
from jaxtyping import Bool, Float

from data_tools import options
from experiments.loopwalk.frozen_set import read_sets
from experiments.loopwalk.results import HORIZONS
from experiments.loopwalk.rows import CONTEXT, ROWS
from mstv.cli.experiment import Experiment
from mstv.data.latent_shards import LatentStore
from mstv.errors import UserError
from mstv.rollout.cost import PlanCost


def known_frames(poses: Float[np.ndarray, "T 5"], context: int, reach: int) -> Bool[np.ndarray, " T"]:
    """Frames of `poses` that a chain of visits, at most `reach` frames apart, leads back to the context."""
    known = np.zeros(len(poses), bool)
    known[:context] = True
    last: dict[tuple[float, ...], int] = {}
    for frame, pose in enumerate(map(tuple, poses.round(3).tolist())):
        if frame >= context and pose in last and frame - last[pose] <= reach:
            known[frame] = known[last[pose]]
        last[pose] = frame
    return known


def reaches(size: str) -> dict[str, int]:
    """Frames that each plan of the table sees back, the farthest first."""
    found = {}
    for row in ROWS:
        experiment = Experiment.read(row.layers(size))
        merged = experiment.family.merged_plan(experiment.levels.num_tokens(0))
        found[row.plan] = PlanCost(merged, 1, 1, "isolated", 2).memory[1]
    return dict(sorted(found.items(), key=lambda item: -item[1]))


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
    print(
        f"{'plan':<20}{'reach':>6}" + "".join(f"{f'h = {h}':>9}" for h in HORIZONS) + f"   of {len(poses)} test walks"
    )
    for plan, reach in reaches(arguments.size).items():
        share = np.mean([known_frames(each, CONTEXT, reach)[CONTEXT:] for each in poses], 0)
        print(f"{plan:<20}{reach:>6}" + "".join(f"{share[h // 2 : h].mean():>9.2f}" for h in HORIZONS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
