"""A plan as a picture: level x frame, context, target and unseen, step by step."""

from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mstv.rollout.plan import Plan

UNSEEN, CONTEXT, TARGET = 0, 1, 2
COLOURS = ("#f1f1ee", "#8fb3d9", "#e4572e")


def plan_grid(plan: Plan) -> np.ndarray:
    """Role of each cell at each step, uint8 (steps, levels, frames): 0 unseen, 1 context, 2 target."""
    grid = np.full((len(plan.steps), plan.num_levels, plan.num_frames), UNSEEN, np.uint8)
    for index, step in enumerate(plan.steps):
        for role, cells in ((CONTEXT, step.context), (TARGET, step.targets)):
            for level, frame in cells:
                grid[index, level, frame] = role
    return grid


def draw_plan(plan: Plan, path: Path, file_format: str = "png", max_steps: int = 40) -> None:
    """Draw the plan's first steps, one strip of levels (coarsest on top) under the other.

    Args:
        plan: the plan.
        path: file to write.
        file_format: png, pdf or svg.
        max_steps: steps drawn; a longer plan says how many it leaves out.
    """
    grid = plan_grid(plan)[:max_steps]
    steps, levels, frames = grid.shape
    figure = Figure(figsize=(11, max(1.6, 0.11 * levels * steps + 1.2)), layout="constrained")
    axes = figure.subplots(steps, 1, sharex=True, squeeze=False)[:, 0]
    for index, (axis, strip) in enumerate(zip(axes, grid, strict=True)):
        axis.pcolormesh(
            np.arange(frames + 1), np.arange(levels + 1), strip, cmap=ListedColormap(COLOURS), vmin=0, vmax=2
        )
        axis.set_yticks([])
        axis.set_ylabel(str(index), rotation=0, ha="right", va="center", fontsize=7)
        axis.spines[:].set_visible(False)
        axis.tick_params(axis="x", length=0, labelsize=7)
        axis.axvline(plan.first_target_frame, color="#555555", linewidth=0.6)
    axes[-1].set_xlabel("frame of the chunk")
    left_out = f"; first {steps} of {len(plan.steps)} steps" if steps < len(plan.steps) else ""
    summary = f"{len(plan.steps)} steps, {plan.advance} frames a chunk, at most {max(plan.num_tokens)} tokens a step"
    figure.suptitle(summary + left_out, fontsize=9)
    figure.supylabel("step (in each, level 0 at the bottom)", fontsize=8)
    names = ("unseen", "context", "target")
    figure.legend(
        handles=[Patch(color=colour, label=name) for colour, name in zip(COLOURS, names, strict=True)],
        loc="outside lower right",
        ncols=3,
        fontsize=7,
    )
    figure.savefig(path, format=file_format, dpi=110)
