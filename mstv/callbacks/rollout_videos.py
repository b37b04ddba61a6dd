"""Videos and pictures of the rollouts of a training."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from lightning import Trainer

from mstv.callbacks.media import log_picture, log_video, media_path
from mstv.callbacks.pictures import beside, grid
from mstv.callbacks.rolled_episode import RolledEpisode
from mstv.callbacks.turn import Problems, Stopped, TooDear, Turn
from mstv.data.results import RevisitMeans
from mstv.data.schema import atomic_path
from mstv.data.video import encode_video

SERIES_LABELS = {
    "generated": "generated",
    "upper_bound": "upper bound: true latents",
    "lower_bound": "lower bound: these, shuffled",
}
REVISIT_LABELS = {
    ("truth", "generated"): "generated, against the true frame",
    ("own", "generated"): "generated, against its own earlier frame of the place",
    ("elsewhere", "generated"): "generated, against its own frame of another place",
    ("own", "upper_bound"): "true latents, against their earlier frame of the place",
    ("elsewhere", "upper_bound"): "true latents, against their frame of another place",
    ("own", "lower_bound"): "true latents, shuffled",
}
"""Of reference and series; `truth` is what the curves are scored against."""


def save_videos(trainer: Trainer, rolled: RolledEpisode, fps: float, turn: Turn, problems: Problems) -> None:
    """Truth beside the rollout; and where the levels are at hand, each beside the finest, as a video and a picture.

    Raises:
        TooDear: it takes longer than there is time for; no video of the episode is left.
        Stopped: the training is asked to stop.
    """
    episode = rolled.episode
    truth, made = episode.recorded[episode.context_frames :], episode.generated[episode.context_frames :]
    levels = [(f"level {level}", frames) for level, frames in enumerate(rolled.levels) if frames is not None]
    videos = {f"rollout-{episode.key}": [("true", truth), ("generated", made)]}
    if levels:
        videos[f"rollout-levels-{episode.key}"] = [("true", truth), *levels]
    saved: dict[str, Path] = {}
    turn.stage(sum(len(columns) * len(truth) for columns in videos.values()), enough=16)
    with problems.of("videos"):
        try:
            for name, columns in videos.items():
                path = media_path(trainer, name, "mp4")
                with atomic_path(path) as temporary:
                    encode_video(_counted(beside(columns), len(columns), turn), temporary, fps)
                saved[name] = path
        except (TooDear, Stopped):
            for path in saved.values():
                path.unlink()
            raise
    for name, path in saved.items():
        with problems.of("videos"):
            log_video(trainer, name.replace("rollout-", "rollout/", 1), path)
    if levels:
        horizon = np.unique(np.append(2 ** np.arange(int(np.log2(len(truth))) + 1), len(truth)))
        rows = [(label, frames[torch.from_numpy(horizon - 1)]) for label, frames in [("true", truth), *levels]]
        with problems.of("pictures"):
            log_picture(trainer, "rollout/levels", grid(rows, [f"+{h}" for h in horizon]))


def _counted(frames: np.ndarray, columns: int, turn: Turn) -> Iterator[np.ndarray]:
    for frame in frames:
        yield frame
        turn.advance(columns)


def draw_curves(curves: dict[Any, Float[np.ndarray, " T"]], revisits: Sequence[RevisitMeans]) -> np.ndarray:
    """PSNR, smoothed as all numbers at a horizon are, and revisits, as uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [means for means in revisits if means.metric == "psnr" and means.seen_in != "anywhere"]
    figure = Figure(figsize=(13 if shown else 6, 4.2), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if shown else 1, squeeze=False, width_ratios=[3, 4] if shown else None)[0]
    horizon = np.arange(1, len(curves["generated"]) + 1)
    for name, label in SERIES_LABELS.items():
        if (values := curves.get(name)) is None:
            continue
        means = [values[h // 2 : h].mean() for h in horizon]
        axes[0].plot(horizon, means, label=label, linestyle="-" if name == "generated" else "--")
    axes[0].set(xlabel="horizon h (frames)", ylabel="PSNR (dB), mean over (h/2, h]")
    # Plain numbers, which need no fonts of mathematics.
    axes[0].set_xscale("log", base=2)
    axes[0].xaxis.set_major_formatter("{x:g}")
    axes[0].legend(fontsize=8)
    if shown:
        _draw_revisits(axes[1], shown)
        figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_revisits(axes: Any, shown: Sequence[RevisitMeans]) -> None:
    """PSNR of each bin, a line of marks for each place in time."""
    of_kind: dict[tuple[str, str], dict[tuple[int, str], tuple[float, int]]] = {}
    truth = "raw" if any(means.reference == "raw" for means in shown) else "decoded"
    for means in shown:
        kind = ("truth" if means.reference == truth else means.reference, means.series)
        found = of_kind.setdefault(kind, {})
        found |= {(gap.first_gap, means.seen_in): (gap.value, gap.num_frames) for gap in means.gaps}
    counts = {place: number for place, (_, number) in of_kind["own", "generated"].items()}
    places = sorted(counts)
    for (reference, series), label in REVISIT_LABELS.items():
        if (reference, series) not in of_kind:
            continue
        style = "o" if (reference, series) in (("truth", "generated"), ("own", "generated")) else "|"
        values = [of_kind[reference, series][place][0] for place in places]
        axes.plot(values, np.arange(len(places)), style, label=label, markersize=6 if style == "o" else 12)
    labels = [f"{gap} frames ago or more, {seen_in} ({counts[gap, seen_in]})" for gap, seen_in in places]
    axes.set_yticks(np.arange(len(places)), labels, fontsize=8)
    axes.set(xlabel="PSNR (dB) of frames whose place was seen before")
    axes.invert_yaxis()
