"""Plans as a picture: level x frame, context, target and unseen, step by step."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mstv.rollout.plan import Plan

UNSEEN, CONTEXT, TARGET = 0, 1, 2
COLOURS = ("#f1f1ee", "#8fb3d9", "#e4572e")
STRIP = 0.8
"""Height of the highest strip, over the distance from one step to the next."""


def plan_grid(plan: Plan) -> np.ndarray:
    """Role of each cell at each step, uint8 (steps, levels, frames): 0 unseen, 1 context, 2 target."""
    grid = np.full((len(plan.steps), plan.num_levels, plan.num_frames), UNSEEN, np.uint8)
    for index, step in enumerate(plan.steps):
        for role, cells in ((CONTEXT, step.context), (TARGET, step.targets)):
            for level, frame in cells:
                grid[index, level, frame] = role
    return grid


def draw_plans(plans: Sequence[tuple[str, Plan]], path: Path, file_format: str = "png", max_steps: int = 40) -> None:
    """Draw the first steps of one plan beside those of the next, each step a strip of levels (coarsest on top).

    Args:
        plans: titles and plans.
        path: file to write.
        file_format: png, pdf or svg.
        max_steps: steps drawn; a longer plan says how many it leaves out.
    """
    num_levels = max(plan.num_levels for _, plan in plans)
    num_steps = min(max_steps, max(len(plan.steps) for _, plan in plans))
    # A level is as high in a plan of one step as it is readable in one of forty.
    step_height = min(0.3 * num_levels, max(0.11 * num_levels, 3 / num_steps)) / STRIP
    figure = Figure(figsize=(max(11, 5.5 * len(plans)), num_steps * step_height + 1.4), layout="constrained")
    axes = figure.subplots(1, len(plans), squeeze=False)[0]
    for axis, (title, plan) in zip(axes, plans, strict=True):
        _draw(axis, plan, num_steps, num_levels)
        left_out = f", the first {num_steps} shown" if num_steps < len(plan.steps) else ""
        steps = f"{len(plan.steps)} step{'s' if len(plan.steps) > 1 else ''}{left_out}"
        axis.set_title(
            f"{title}: {steps}\n{plan.advance} frames a chunk, at most {max(plan.num_tokens)} tokens a step", fontsize=9
        )
    axes[0].set_ylabel("step", fontsize=8)
    names = ("unseen", "context", "target")
    figure.legend(
        handles=[Patch(color=colour, label=name) for colour, name in zip(COLOURS, names, strict=True)],
        loc="outside lower right",
        ncols=3,
        fontsize=7,
        title="each strip is a step, level 0 at its bottom",
        title_fontsize=7,
    )
    figure.savefig(path, format=file_format, dpi=110)


def _draw(axis: Axes, plan: Plan, num_steps: int, num_levels: int) -> None:
    """One plan on one axis with room for `num_steps` strips of `num_levels` levels."""
    first = plan.first_target_frame
    left, right = -first, plan.num_frames - first
    shown = plan_grid(plan)[:num_steps]
    for index, strip in enumerate(shown):
        bottom = index + STRIP
        top = bottom - STRIP * plan.num_levels / num_levels
        axis.imshow(
            strip[::-1],
            cmap=ListedColormap(COLOURS),
            vmin=UNSEEN,
            vmax=TARGET,
            extent=(left, right, bottom, top),
            aspect="auto",
            interpolation="nearest",
        )
        axis.plot((0, 0), (bottom, top), color="#555555", linewidth=0.6)
    axis.set_xlim(left, right)
    axis.set_ylim(num_steps, 0)
    axis.set_yticks([index + STRIP / 2 for index in range(len(shown))], [str(index) for index in range(len(shown))])
    axis.tick_params(length=0, labelsize=7)
    axis.spines[:].set_visible(False)
    # A plan of few steps has its frame numbers under its own last strip.
    axis.spines["bottom"].set_position(("data", len(shown)))
    axis.set_xlabel("frame, counted from the first that the chunk generates", fontsize=8)
