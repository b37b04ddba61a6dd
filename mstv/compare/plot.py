"""A still picture of one evaluation: its metrics against the horizon."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mstv.compare.comparison import Comparison
from mstv.compare.curves import SERIES_TITLES, Curve, Panel, panels
from mstv.data.results import EVALUATION
from mstv.data.schema import atomic_path
from mstv.errors import UserError

# Drawn by Figure alone, without pyplot: no display, no global state, Agg for PNG.
COLORS = {"generated": "#2f6fde", "upper_bound": "#15803d", "lower_bound": "#b45309"}
DASHES = {"generated": "-", "upper_bound": "--", "lower_bound": ":"}

MAX_COLUMNS = 4


def plot_curves(folder: Path, path_png: Path) -> None:
    """Draw a PNG of each metric against the horizon, with bounds and 95 % intervals over episodes; frames against
    recorded ones.

    Args:
        folder: of one evaluation, `run/evaluation/<protocol>`.
        path_png: the picture; written atomically.

    Raises:
        UserError: not a finished evaluation, or the picture cannot be written.
    """
    folder = folder.absolute()
    if folder.parent.name != EVALUATION:
        raise UserError(f"{folder}: is not one evaluation of a run: give run/evaluation/<protocol>")
    comparison = Comparison.read([folder.parents[1]], folder.name)
    drawn = [panel for panel in panels(comparison) if panel.ground_truth != "decoded"]
    if not drawn:
        raise UserError(f"{folder}: holds no scores of the metrics its card names: evaluate again")
    columns = min(MAX_COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.3 * rows + 0.6), layout="constrained")
    for index, panel in enumerate(drawn):
        _draw(figure.add_subplot(rows, columns, index + 1), panel)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    card = comparison.card
    figure.suptitle(
        f"{comparison.entries[0].label}: {card.context_frames} frames of context, generated to {card.end_frame}, "
        f"{card.num_episodes} {card.split} episodes, seed {card.seed}",
        fontsize=10,
    )
    with atomic_path(path_png) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _draw(axes: Axes, panel: Panel) -> None:
    for curve in panel.curves:
        _draw_curve(axes, curve)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlim(1, max(2, *(int(curve.horizon[-1]) for curve in panel.curves)))
    axes.set_xlabel("horizon (frames since the last ground-truth frame)")
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    color = COLORS[curve.series]
    name = SERIES_TITLES[curve.series]
    axes.plot(curve.horizon, curve.mean, DASHES[curve.series], color=color, linewidth=1.5, label=name)
    if curve.interval and curve.series == "generated":
        axes.fill_between(curve.horizon, *curve.interval, color=color, alpha=0.18, linewidth=0)
