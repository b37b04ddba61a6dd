"""Frames of one test episode, recorded and as the first finished row of each plan shows them, at growing horizons.

Command:  python -m experiments.loopwalk.frames loopwalk/mini docs/loopwalk_frames.png [--video docs/loopwalk.mp4]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.figure import Figure

from data_tools import options
from experiments.loopwalk.rows import ROWS, Row
from mstv.callbacks.pictures import beside
from mstv.cli.arguments import at_least
from mstv.data.output_file import MP4, PNG, check_output
from mstv.data.results import CARD, TRUTH, VIDEOS, Card
from mstv.data.schema import atomic_path
from mstv.data.video import decode_video, encode_video
from mstv.errors import UserError

HORIZONS = (0, 1, 4, 16, 32, 64, 128, 256, 512, 767)
"""Columns: frames since the last true one, which is 0."""

FILM_FRAMES, FILM_FPS, FILM_CRF = 257, 6, 30
"""Of the video; the walk takes a step or a quarter turn in each frame."""

Frames = UInt8[np.ndarray, "T H W 3"]


def read_frames(folder: Path, number: int) -> dict[str, Frames]:
    """Frames of the `number`th test episode from the last of context on, by the name of a line of the picture.

    Raises:
        UserError: no row is finished, there is no such episode, or a video is damaged.
    """
    rows: dict[str, Row] = {}
    for row in ROWS:
        if row.is_finished(folder):
            rows.setdefault(row.plan, row)
    if not rows:
        raise UserError(f"{folder}: no finished row: run python -m experiments.loopwalk.run first")
    found: dict[str, Frames] = {}
    for plan, row in rows.items():
        evaluation = row.evaluation(folder)
        card = Card.read(evaluation / CARD)
        if number >= len(card.episodes):
            raise UserError(f"--episode {number}: {evaluation} has {len(card.episodes)} episodes, counted from 0")
        first = card.context_frames - 1 - card.video_first_frame
        for title, videos in (("recorded", TRUTH), (plan.replace("_", " "), VIDEOS)):
            if title not in found:
                found[title] = decode_video(evaluation / videos / f"{card.episodes[number]}.mp4")[first:]
    return found


def draw(frames: dict[str, Frames], path_png: Path) -> None:
    """Write the picture: a line for each name, a column for each of `HORIZONS` that the videos have."""
    horizons = [horizon for horizon in HORIZONS if horizon < min(map(len, frames.values()))]
    figure = Figure(figsize=(len(horizons) + 1.1, 1.02 * len(frames) + 0.3), layout="constrained")
    axes = figure.subplots(len(frames), len(horizons), squeeze=False)
    for axis, horizon in zip(axes[0], horizons, strict=True):
        axis.set_title("context" if horizon == 0 else f"+{horizon}", fontsize=9)
    for line, (title, video) in zip(axes, frames.items(), strict=True):
        for axis, horizon in zip(line, horizons, strict=True):
            axis.imshow(video[horizon], interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(title, fontsize=9, rotation=0, ha="right", va="center")
    with atomic_path(path_png) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def film(frames: dict[str, Frames], path_mp4: Path) -> None:
    """Write all of them beside each other as a video of the first `FILM_FRAMES` frames, slow enough to follow."""
    columns = [
        (title, torch.from_numpy(video[:FILM_FRAMES]).permute(0, 3, 1, 2) / 255) for title, video in frames.items()
    ]
    with atomic_path(path_mp4) as temporary:
        encode_video(beside(columns), temporary, FILM_FPS, FILM_CRF)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.loopwalk.frames", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=options.folder, help="that experiments.loopwalk.run made")
    parser.add_argument("png", type=Path)
    parser.add_argument("--video", type=Path, help="an mp4 of them beside each other, too")
    parser.add_argument("--episode", type=at_least(0), default=0, help="its number, from 0 (default: 0)")
    arguments = parser.parse_args(argv)
    try:
        check_output(arguments.png, [PNG], "png")
        if arguments.video:
            check_output(arguments.video, [MP4], "--video")
        frames = read_frames(arguments.folder, arguments.episode)
        draw(frames, arguments.png)
        if arguments.video:
            film(frames, arguments.video)
    except UserError as error:
        print(f"frames: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
