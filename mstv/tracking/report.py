"""A report of W&B that lays several runs out by horizon."""

from collections.abc import Sequence
from typing import Any, get_args

from mstv.compare.comparison import Comparison, Entry
from mstv.data.results import GroundTruth, Series
from mstv.errors import UserError
from mstv.tracking.evaluation_log import group_of, horizon_lines, numbers, video_names

MISSING = "mstv report wants the package wandb-workspaces: pip install 'mstv[report]'"
TRAINING = {
    "Loss": ("train/loss",),
    "Held-out loss": ("validation/loss",),
    "PSNR of long rollouts, over (8, 16]": ("rollout/psnr_h16",),
    "PSNR of long rollouts, over (128, 256]": ("rollout/psnr_h256",),
}
WIDTH, HEIGHT, COLUMNS = 12, 8, 2
"""Of a panel, in W&B's grid of 24 columns."""


def build_report(comparison: Comparison, ids: Sequence[str], project: str, entity: str, title: str) -> Any:
    """A report that is not saved yet; this needs neither account nor network.

    Args:
        comparison: evaluated runs.
        ids: of their W&B runs.
        project: of all of them.
        entity: user or team in W&B.
        title: heading.

    Returns:
        `wandb_workspaces.reports.v2.Report`.

    Raises:
        UserError: wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as wr
    except ImportError:
        raise UserError(MISSING) from None
    group = group_of(comparison.protocol)

    def grid(panels: Sequence[Any]) -> Any:
        for index, panel in enumerate(panels):
            row, column = divmod(index, COLUMNS)
            panel.layout = wr.Layout(x=column * WIDTH, y=row * HEIGHT, w=WIDTH, h=HEIGHT)
        # Without project and entity the set is of the report's own.
        runs = wr.Runset(name=comparison.protocol, filters=f"ID in {list(ids)}")
        return wr.PanelGrid(runsets=[runs], panels=list(panels))

    card = comparison.card
    blocks = [
        wr.P(
            f"Protocol {comparison.protocol}: {card.num_episodes} episodes of split {card.split}, "
            f"{card.context_frames} frames of context, generated up to frame {card.end_frame}."
        ),
        wr.TableOfContents(),
        wr.H1("Against the horizon"),
        grid(_curves(wr, comparison, group)),
        wr.H1("By horizon"),
    ]
    for horizon, names in _by_horizon(comparison.entries, group).items():
        blocks += [wr.H2(f"Horizon {horizon}"), grid(_bars(wr, names))]
    if revisits := _names(comparison.entries, f"{group}/revisit_", group):
        blocks += [wr.H1("Where the walk comes back"), grid(_bars(wr, revisits))]
    if actions := _names(comparison.entries, f"{group}/actions_", group):
        blocks += [wr.H1("Actions followed"), grid(_bars(wr, actions))]
    videos = video_names(comparison.protocol, comparison.entries[0])
    blocks += [
        wr.H1("Videos"),
        wr.P("The recording on the left, the rollout on the right."),
        grid([wr.MediaBrowser(title=name.rsplit("/", 1)[-1], media_keys=[name], num_columns=2) for name in videos]),
        wr.H1("Training"),
        grid([wr.LinePlot(title=name, x="Step", y=[*metrics]) for name, metrics in TRAINING.items()]),
        wr.H1("Settings that differ"),
        grid([wr.RunComparer(diff_only="split")]),
    ]
    return wr.Report(project=project, entity=entity, title=title, blocks=blocks, width="fluid")


def _curves(wr: Any, comparison: Comparison, group: str) -> list[Any]:
    """A chart for each metric and ground truth: of every run one line, and those of its bounds."""
    known = {name for entry in comparison.entries for name in horizon_lines(comparison.protocol, entry)}
    panels = []
    for truth in get_args(GroundTruth):
        for metric in comparison.metrics:
            names = [f"{metric.name}/{truth}/{series}" for series in get_args(Series)]
            if present := [wr.Metric(f"{group}/{name}") for name in names if name in known]:
                axis, horizon = wr.Metric(f"{group}/horizon"), "horizon (frames)"
                title = metric.against(truth)
                panels.append(wr.LinePlot(title=title, x=axis, y=present, log_x=True, title_x=horizon))
    return panels


def _by_horizon(entries: Sequence[Entry], group: str) -> dict[int, dict[str, str]]:
    """Of each horizon the names of its numbers, with what they are called."""
    found: dict[int, dict[str, str]] = {}
    for title, name in _names(entries, f"{group}/", group).items():
        metric, _, horizon = title.rpartition("_h")
        if metric and horizon.isdigit():
            found.setdefault(int(horizon), {})[metric] = name
    return dict(sorted(found.items()))


def _names(entries: Sequence[Entry], start: str, group: str) -> dict[str, str]:
    """Names of the numbers that a run has and that begin so, by what they are called."""
    names = dict.fromkeys(name for entry in entries for name in numbers(group, entry))
    return {name.removeprefix(f"{group}/"): name for name in names if name.startswith(start)}


def _bars(wr: Any, names: dict[str, str]) -> list[Any]:
    return [wr.BarPlot(title=title, metrics=[wr.SummaryMetric(name)]) for title, name in names.items()]
