"""A still picture of a set: a row of frames for each of some episodes."""

from collections.abc import Sequence
from pathlib import Path

from data_tools.episode_view import NUM_STILLS, EpisodeView

_LABEL = 0.19  # height of a row's label, in widths of a frame
_CAPTION = 0.13  # height of the text below a frame
_GAP = 0.03
_INCHES = 1.6  # width of a frame


def write_contact_sheet(views: Sequence[EpisodeView], path: Path) -> None:
    """Write a PNG with a row an episode: frames from its first to its last, their numbers and discrete actions.

    Args:
        views: the episodes.
        path: picture to write; not atomic.
    """
    # matplotlib takes most of a second to import.
    from matplotlib.figure import Figure

    heights = [view.record.height / view.record.width for view in views]
    total = sum(heights) + len(views) * (_LABEL + _CAPTION + _GAP)
    figure = Figure(figsize=(_INCHES * NUM_STILLS + 0.3, _INCHES * total + 0.3))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set_axis_off()
    top = 0.0
    for view, height in zip(views, heights, strict=True):
        record = view.record
        label = f"{record.key}    world {record.source.world}    {view.split}    {record.num_frames} frames"
        top += _LABEL
        # File names and worlds may hold a dollar sign, which is no formula here.
        axes.text(0, top - 0.04, label[:150], fontsize=9, weight="bold", va="bottom", parse_math=False)
        for column, (frame, picture) in enumerate(view.stills):
            axes.imshow(picture, extent=(column, column + 1 - _GAP, top + height, top), interpolation="antialiased")
            text = f"{frame}  {view.action_text(frame)}"[:22]
            axes.text(column, top + height + 0.02, text, fontsize=7.5, va="top", parse_math=False)
        top += height + _CAPTION + _GAP
    axes.set(xlim=(0, NUM_STILLS), ylim=(total, 0), aspect="equal")
    figure.savefig(path, format="png", dpi=110)
