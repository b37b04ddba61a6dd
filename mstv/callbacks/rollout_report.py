"""What a training shows of its long rollouts: W&B's own charts and tables, and files for whoever has no W&B."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from lightning import Trainer

from mstv.callbacks.media import log_curves, log_picture, log_table, log_video, loggers_of, media_path
from mstv.callbacks.pictures import beside, grid
from mstv.callbacks.rolled_episode import RolledEpisode
from mstv.callbacks.rollout_scores import REVISIT_COLUMNS, mean_psnr, revisit_rows
from mstv.data.schema import atomic_path
from mstv.data.video import encode_video
from mstv.metrics.revisit_consistency import REFERENCES
from mstv.tracking.media_loggers import log_by_horizon

HORIZONS = (1, 4, 16, 64, 256)
"""Of the logged means, over horizons (h/2, h]."""
LABELS = {
    "generated": "generated",
    "upper_bound": "upper bound: true latents",
    "lower_bound": "lower bound: these, shuffled",
}
REFERENCE_LABELS = {
    "truth": "generated, against the true frame",
    "own": "generated, against its own earlier frame of the place",
    "own_elsewhere": "generated, against its own frame of another place",
    "upper_bound": "true, against the true earlier frame",
    "lower_bound": "true, against a true frame of another place",
}
"""Of `REFERENCES`, in a picture."""


def report(trainer: Trainer, episodes: Sequence[RolledEpisode], seed: int, fps: float, is_last: bool) -> None:
    """Log numbers, curves, the table of revisits, videos and the levels.

    Args:
        trainer: knows the loggers and the run directory.
        episodes: at least one, all of one length.
        seed: of the order of the lower bound.
        fps: of the videos.
        is_last: of this training: its curves are lines that runs of as many steps share a chart of.
    """
    curves, rows = mean_psnr(episodes, seed), revisit_rows(episodes)
    scalars = _scalars(curves, rows)
    for logger in trainer.loggers:
        # Lightning's number of the step that has just been done.
        logger.log_metrics(scalars, step=trainer.global_step - 1)
    horizon = list(range(1, len(curves["generated"]) + 1))
    log_curves(trainer, "rollout/psnr", horizon, {k: v.tolist() for k, v in curves.items()}, "horizon")
    if is_last:
        _log_lines(trainer, curves)
    if rows:
        log_table(trainer, "rollout/revisits", REVISIT_COLUMNS, rows)
    _write_numbers(trainer, curves, rows, scored_against="decoded" if episodes[0].recorded is None else "recorded")
    log_picture(trainer, "rollout/curves", _drawn(curves, rows))
    for episode in episodes:
        _save_videos(trainer, episode, fps)


def _scalars(curves: dict[str, np.ndarray], rows: Sequence[Sequence[Any]]) -> dict[str, float]:
    generated = curves["generated"]
    found = {f"rollout/psnr_h{h}": float(generated[h // 2 : h].mean()) for h in HORIZONS if h <= len(generated)}
    found |= {f"rollout/psnr_{name}": float(curves[name].mean()) for name in curves if name != "generated"}
    if rows:
        counts = np.array([row[2] for row in rows], float)
        for index, reference in enumerate(REFERENCES, 3):
            found[f"rollout/revisit_{reference}"] = float(np.average([row[index] for row in rows], weights=counts))
    return found


def _log_lines(trainer: Trainer, curves: dict[str, np.ndarray]) -> None:
    """Smoothed as in the picture; their group names the step, for a training may be prolonged."""
    last = len(curves["generated"])
    horizon = np.unique(np.geomspace(1, last, 1 + math.ceil(8 * math.log2(last))).round().astype(int))
    lines = {
        f"psnr/{name}": (horizon, np.array([values[h // 2 : h].mean() for h in horizon], float))
        for name, values in curves.items()
    }
    for logger in loggers_of(trainer):
        log_by_horizon(logger, f"rollout_after_{trainer.global_step}", lines)


def _write_numbers(
    trainer: Trainer, curves: dict[str, np.ndarray], rows: Sequence[Sequence[Any]], scored_against: str
) -> None:
    numbers = {
        "step": trainer.global_step,
        "scored_against": scored_against,
        "psnr": {name: np.round(values.astype(float), 3).tolist() for name, values in curves.items()},
        "revisits": [dict(zip(REVISIT_COLUMNS, row, strict=True)) for row in rows],
    }
    with atomic_path(media_path(trainer, "rollout", "json")) as temporary:
        temporary.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def _drawn(curves: dict[str, Float[np.ndarray, " T"]], rows: Sequence[Sequence[Any]]) -> np.ndarray:
    """Curves, smoothed as all numbers at a horizon are, and revisits, as uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13 if rows else 6, 4.2), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if rows else 1, squeeze=False, width_ratios=[3, 4] if rows else None)[0]
    horizon = np.arange(1, len(curves["generated"]) + 1)
    for name, label in LABELS.items():
        if (values := curves.get(name)) is None:
            continue
        means = [values[h // 2 : h].mean() for h in horizon]
        axes[0].plot(horizon, means, label=label, linestyle="-" if name == "generated" else "--")
    axes[0].set(xlabel="horizon h (frames)", ylabel="PSNR (dB), mean over (h/2, h]")
    # Plain numbers, which need no fonts of mathematics.
    axes[0].set_xscale("log", base=2)
    axes[0].xaxis.set_major_formatter("{x:g}")
    axes[0].legend(fontsize=8)
    if rows:
        places = np.arange(len(rows))
        for index, reference in enumerate(REFERENCES, 3):
            style = "o" if reference in ("truth", "own") else "|"
            label = REFERENCE_LABELS[reference]
            axes[1].plot([row[index] for row in rows], places, style, label=label, markersize=6 if style == "o" else 12)
        axes[1].set_yticks(places, [f"{row[0]} frames ago, {row[1]} ({row[2]})" for row in rows], fontsize=8)
        axes[1].set(xlabel="PSNR (dB) of frames whose place was seen before")
        axes[1].invert_yaxis()
        figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _save_videos(trainer: Trainer, episode: RolledEpisode, fps: float) -> None:
    """Truth beside the rollout; and where the levels are at hand, each beside the finest, as a video and a picture."""
    truth, made = episode.truth[episode.num_context :], episode.generated[episode.num_context :]
    _save_video(trainer, f"rollout-{episode.key}", beside([("true", truth), ("generated", made)]), fps)
    levels = [(f"level {level}", frames) for level, frames in enumerate(episode.levels) if frames is not None]
    if not levels:
        return
    shown = [("true", truth), *levels]
    _save_video(trainer, f"rollout-levels-{episode.key}", beside(shown), fps)
    horizon = np.unique(np.append(2 ** np.arange(int(np.log2(len(truth))) + 1), len(truth)))
    rows = [(label, frames[torch.from_numpy(horizon - 1)]) for label, frames in shown]
    log_picture(trainer, "rollout/levels", grid(rows, [f"+{h}" for h in horizon]))


def _save_video(trainer: Trainer, name: str, frames: np.ndarray, fps: float) -> None:
    path = media_path(trainer, name, "mp4")
    with atomic_path(path) as temporary:
        encode_video(frames, temporary, fps)
    log_video(trainer, name.replace("rollout-", "rollout/", 1), path)
