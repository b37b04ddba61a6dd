"""Runs with plausible curves and videos, written through the contract: no model is needed to try a comparison."""

import csv
import shutil
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pyarrow as pa

from mstv.data import results
from mstv.data.results import Card
from mstv.evaluation.revisit_scoring import revisit_means

DRIFT = {"colour_drift": "lower", "sharpness": "near zero", "token_drift": "lower", "fid": "lower"}
"""Metrics of `make_run`, and which values are better."""
NUM_BARS = 8
MAX_NOISE = 12


def draw_number(frame: np.ndarray, number: int) -> None:
    """Write `number` modulo 2^NUM_BARS into the upper quarter of a picture (H, W, 3), as bars: white is a one."""
    width = frame.shape[1] // NUM_BARS
    for bar in range(NUM_BARS):
        frame[: len(frame) // 4, bar * width : (bar + 1) * width] = 255 * (number >> bar & 1)


def read_number(picture: np.ndarray) -> int:
    """The number in a picture (H, W, 3) of any size that shows such a frame whole."""
    height, width = picture.shape[:2]
    bars = [picture[height // 8, int((bar + 0.5) * width / NUM_BARS)].mean() > 127 for bar in range(NUM_BARS)]
    return sum(int(lit) << bar for bar, lit in enumerate(bars))


def write_video(path: Path, num_frames: int, size: int, noise: float, seed: int, fps: int = 20) -> None:
    """A square that walks over a striped ground, more and more noisy; from 64 pixels on with `draw_number` above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": "8", "crf": "20"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for t in range(num_frames):
            ground = 90 + 40 * np.sin((columns + t) / 5)[..., None] * np.array([0.3, 1, 0.5])
            ground[: size // 3] = (130, 180, 235)
            x, y = (int(size * (0.4 + 0.3 * wave(t / 20 + seed))) for wave in (np.cos, np.sin))
            ground[(abs(rows - y) < size // 8) & (abs(columns - x) < size // 8)] = (210, 90, 60)
            if size >= 64:
                draw_number(ground, t)
            frame = ground + random.normal(0, 1 + min(noise * t, MAX_NOISE), ground.shape)
            image = av.VideoFrame.from_ndarray(frame.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())


def fid(series: results.Series, quality: float, num_episodes: int) -> results.SeriesSummary:
    """A distance that is plausible for a quality."""
    value = {"upper_bound": 5.0, "generated": 60 - quality, "lower_bound": 90.0}[series]
    windows = [results.WindowMean(horizon=last, first=last - 15, value=value, interval=None) for last in (16, 24)]
    return results.SeriesSummary(
        metric="fid",
        ground_truth="raw",
        series=series,
        num_episodes=num_episodes,
        num_frames=32 * num_episodes,
        overall=None,
        horizons=tuple(windows),
    )


def make_run(
    folder: Path,
    quality: float = 0.0,
    num_episodes: int = 2,
    context: int = 8,
    end: int = 32,
    size: int = 16,
    videos: bool = True,
    truths: tuple[results.GroundTruth, ...] = ("raw",),
    training_rows: int = 30,
    revisits: bool = False,
    drift: bool = False,
    **changes: object,
) -> Path:
    """A whole run; `quality` is added to its PSNR, `changes` are fields of its card, whose `coarse_levels` have videos.

    With `drift`, it also has metrics of which lower values, or those near zero, are better, and FID. With `revisits`,
    the last eight frames of every episode show again what its first eight did, and are scored as such.
    """
    episodes = tuple(f"walk-{index}" for index in range(num_episodes))
    fields: dict[str, object] = {
        "protocol": "long",
        "protocol_version": 1,
        "split": "test",
        "context_frames": context,
        "end_frame": end,
        "num_episodes": num_episodes,
        "episodes": episodes,
        "seed": 0,
        "sampler": "ddim",
        "nfe": 10,
        "attention": "isolated",
        "guidance": 1.0,
        "plan": {"family": "coarse-to-fine", "parameters": {"windows": [1, 4, 16], "extra_context": 64}},
        "max_tokens_per_step": 3840,
        "token_evaluations_per_frame": 17000.0,
        "metrics": [
            {"name": "psnr", "aggregation": "mean of per-frame PSNR; pooled beside it"},
            {"name": "ssim", "aggregation": "mean of per-frame SSIM"},
            *(
                {"name": name, "aggregation": "mean", "definition": {"version": 1, "better": better}}
                for name, better in (DRIFT.items() if drift else ())
            ),
        ],
        "ground_truth": truths,
        "image_size": (size, size),
        "fps": 20.0,
        "checkpoint": "last.ckpt",
        "checkpoint_sha256": "a" * 64,
        "tokenizer_sha256": "b" * 64,
        "data_sha256": "c" * 64,
        "machine": "none: a synthetic run",
        "torch_version": "2.13.0",
    }
    card = Card.model_validate(fields | changes)
    evaluation = results.evaluation_folder(folder, card.protocol)
    results.begin_evaluation(evaluation, card)
    frame = np.arange(context, end)
    horizon = frame - context + 1
    for index, episode in enumerate(episodes):
        random = np.random.default_rng([index, int(quality * 10) % 1000])
        wave = 1.5 * np.sin(horizon / 30 + index) + random.normal(0, 0.3, len(horizon)) + 0.8 * random.normal()
        curves = {
            "generated": 16 + quality + 14 / (1 + horizon / 12) + wave,
            "upper_bound": 33 + 0.5 * wave,
            "lower_bound": 12 + 0.4 * wave,
        }
        tables = []
        for truth in truths:
            for series, psnr in curves.items():
                if truth == "decoded" and series == "upper_bound":
                    continue
                psnr = psnr + (1.5 if truth == "decoded" else 0)
                for metric, value in (("psnr", psnr), ("ssim", 1 / (1 + np.exp((20 - psnr) / 5)))):
                    tables.append(results.episode_scores(episode, frame, horizon, metric, truth, series, value))
        if drift:
            for name, truth in (("colour_drift", "raw"), ("sharpness", "raw"), ("token_drift", "latents")):
                for series, psnr in curves.items():
                    value = (-1 if name == "sharpness" else 1) * 10 ** (-psnr / 20)
                    tables.append(results.episode_scores(episode, frame, horizon, name, truth, series, value))
        results.write_episode_scores(evaluation, episode, pa.concat_tables(tables))
    folders = {evaluation / results.VIDEOS: 0.1, evaluation / results.TRUTH: 0.0}
    folders |= {results.level_folder(evaluation, level): 0.1 + level for level in card.coarse_levels}
    for shown, noise in folders.items() if videos else ():
        first, *others = [shown / f"{episode}.mp4" for episode in episodes]
        write_video(first, end, size, noise, seed=0)
        for other in others:  # encoding takes long, and nobody looks
            shutil.copyfile(first, other)
    if revisits:
        results.write_revisits(evaluation, dict.fromkeys(episodes, (np.arange(end - 8, end), np.arange(8))))
    if drift:
        results.write_distances(evaluation, [fid(series, quality, num_episodes) for series in get_args(results.Series)])
    scores = results.merge_scores(evaluation)
    results.summarise(evaluation, rollout_seconds=12.5, revisits=_revisits(scores, card) if revisits else ())
    if training_rows:
        with (folder / results.TRAINING).open("w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", "step", "train/loss", "val/loss", "lr-AdamW"])
            writer.writeheader()
            for row in range(training_rows):
                loss = 0.9 * np.exp(-row / 8) + 0.1 + 0.01 * np.sin(row * 9 + quality)
                writer.writerow({"epoch": 0, "step": 50 * row, "train/loss": loss, "lr-AdamW": min(row, 5) * 2e-4})
                if row % 5 == 4:
                    writer.writerow({"epoch": 0, "step": 50 * row, "val/loss": 1.1 * loss})
    return folder


def _revisits(scores: pa.Table, card: Card) -> tuple[results.RevisitMeans, ...]:
    """The table of the last eight frames, which agree with the recording as they did frame by frame."""
    frame = np.arange(card.end_frame - 8, card.end_frame)
    rows = [results.REVISIT_SCORES.empty_table()]
    references: tuple[tuple[results.Reference, float], ...] = (("raw", 0.0), ("own", 3.0), ("elsewhere", -4.0))
    for metric in ("psnr", "ssim"):
        for series in get_args(results.Series):
            curves = results.episode_curves(scores, metric, "raw", series)
            assert curves is not None
            for reference, more in references if series == "generated" else references[:2]:
                for episode, values in zip(curves.episodes, curves.values[:, -8:], strict=True):
                    value = values + more if metric == "psnr" else np.minimum(values + more / 40, 1)
                    rows.append(
                        results.revisit_rows(episode, frame, frame - frame[0], metric, reference, series, value)
                    )
    return revisit_means(pa.concat_tables(rows), card.episodes, card.context_frames)
