"""A still picture of an evaluation: true and generated frames beside each other at growing horizons."""

from pathlib import Path

from matplotlib.figure import Figure

from mstv.data.results import CARD, TRUTH, VIDEOS, Card
from mstv.data.schema import atomic_path
from mstv.data.video import decode_video


def contact_sheet(folder: Path, out: Path, max_episodes: int = 4) -> None:
    """Write a PNG with two rows an episode (recorded, generated) and a column for each horizon 0, 1, 2, 4, 8, ...

    Horizon 0 is the last frame of context.

    Args:
        folder: of one evaluation, with its videos.
        out: picture to write.
        max_episodes: first episodes shown.
    """
    card = Card.read(folder / CARD)
    episodes = card.episodes[:max_episodes]
    length = card.end_frame - card.context_frames
    horizons = [0, *(2**power for power in range(20) if 2**power < length), length]
    figure = Figure(figsize=(1.1 * len(horizons) + 0.6, 2.25 * len(episodes) + 0.3), layout="constrained")
    axes = figure.subplots(2 * len(episodes), len(horizons), squeeze=False)
    first = card.context_frames - 1 - card.video_first_frame
    for index, episode in enumerate(episodes):
        for row, name in enumerate((TRUTH, VIDEOS)):
            frames = decode_video(folder / name / f"{episode}.mp4")
            for column, horizon in enumerate(horizons):
                axis = axes[2 * index + row, column]
                axis.imshow(frames[first + horizon], interpolation="nearest")
                axis.set_xticks([])
                axis.set_yticks([])
                axis.spines[:].set_visible(False)
                if not (index or row):
                    axis.set_title("context" if horizon == 0 else f"+{horizon}", fontsize=8)
            axes[2 * index + row, 0].set_ylabel("recorded" if name == TRUTH else "generated", fontsize=8)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
