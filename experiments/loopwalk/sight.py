"""Which earlier frames a plan sees when it first draws a frame, and which places it can therefore know."""

from collections import defaultdict

import numpy as np
from jaxtyping import Bool, Float

from mstv.rollout.plan import Plan


def sight(plan: Plan, context: int, end: int) -> dict[int, frozenset[int]]:
    """For each frame of [context, end) the frames that the step sees which denoises it first, at its coarsest level.

    Steps after it draw what this one has decided. Frames that are denoised at once see each other.
    """
    seen: dict[int, frozenset[int]] = {}
    for start in plan.chunks(context, end=end).starts:
        for step in plan.steps:
            frames = frozenset(start + frame for frame in step.frames)
            for cell in step.targets:
                seen.setdefault(start + cell.frame, frames)
    return {frame: seen[frame] for frame in range(context, end)}


def known_frames(
    poses: Float[np.ndarray, "T 5"], context: int, seen: dict[int, frozenset[int]]
) -> Bool[np.ndarray, " T"]:
    """Frames of `poses` whose place is in sight in the true context, or in a frame that is itself known.

    Args:
        poses: of the walk.
        context: its first frames, which are true.
        seen: `sight` of a plan, for all frames from `context` on.
    """
    known = np.zeros(len(poses), bool)
    known[:context] = True
    visits = defaultdict[tuple[float, ...], list[int]](list)
    for frame, pose in enumerate(map(tuple, poses.round(3).tolist())):
        if frame >= context:
            known[frame] = any(known[visit] for visit in visits[pose] if visit in seen[frame])
        visits[pose].append(frame)
    return known
