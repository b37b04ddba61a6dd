"""The wall of videos: for each episode the truth and every run's rollout."""

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from mstv.compare.comparison import Comparison
from mstv.compare.revisits import Revisits, read_revisits
from mstv.data.results import EpisodeCurves, episode_curves


@dataclass(frozen=True)
class LevelScreen:
    """What one coarse level of a rollout shows alone."""

    level: int
    source: str | None
    """As of a `Screen`."""
    missing: str
    """As of a `Screen`."""


@dataclass(frozen=True)
class Screen:
    """One cell of the wall."""

    label: str
    run: int | None
    """Index of the run; None for the truth."""
    source: str | None
    """Relative link or data URI; None if there is no video."""
    missing: str
    """File that was looked for."""
    psnr: list[float]
    """dB of each generated frame against the recorded one; empty for the truth."""
    mean_psnr: float | None = None
    levels: tuple[LevelScreen, ...] = ()
    """Coarsest first; empty for the truth, and where the run's evaluation kept none."""


@dataclass(frozen=True)
class WallRow:
    """One episode: the truth first, then the runs in order."""

    episode: str
    screens: tuple[Screen, ...]
    revisits: Revisits | None
    """None where the episode's poses are unknown."""


def wall(comparison: Comparison, page: Path, embed: bool = False) -> list[WallRow]:
    """Rows for the episodes that have at least one video; screens without one stay, to say so.

    Args:
        comparison: the runs.
        page: where the page will stand; links are relative to its folder.
        embed: put the videos into the page instead of linking them.
    """
    scored = [episode_curves(entry.scores, "psnr", "raw", "generated") for entry in comparison.entries]
    revisits = read_revisits(comparison)
    rows = []
    for episode in comparison.card.episodes:
        truths = [entry.evaluation.truth(episode) for entry in comparison.entries]
        truth = next((path for path in truths if path.is_file()), truths[0])
        screens = [Screen("truth", None, _source(truth, page, embed), str(truth), [])]
        for run, (entry, curves) in enumerate(zip(comparison.entries, scored, strict=True)):
            video = entry.evaluation.video(episode)
            psnr = _episode_values(curves, episode)
            mean = sum(psnr) / len(psnr) if psnr else None
            levels = tuple(
                LevelScreen(level, _source(path, page, embed), str(path))
                for level, path in reversed(entry.evaluation.level_videos(episode).items())
            )
            screens.append(Screen(entry.label, run, _source(video, page, embed), str(video), psnr, mean, levels))
        if any(screen.source for screen in screens):
            rows.append(WallRow(episode, tuple(screens), revisits.get(episode)))
    return rows


def _source(video: Path, page: Path, embed: bool) -> str | None:
    if not video.is_file():
        return None
    if embed:
        return f"data:video/mp4;base64,{base64.b64encode(video.read_bytes()).decode()}"
    return quote(Path(os.path.relpath(video, page.parent)).as_posix())


def _episode_values(curves: EpisodeCurves | None, episode: str) -> list[float]:
    if curves is None or episode not in curves.episodes:
        return []
    return [float(value) for value in np.round(curves.values[curves.episodes.index(episode)], 2)]
