"""What of a finished evaluation is logged: lines over the horizon, tables, numbers, videos."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import Field

from mstv.compare.comparison import Comparison, Entry
from mstv.compare.curves import panels
from mstv.data.results import SUMMARY, Run, Summary, WindowMean
from mstv.data.results.card import Part
from mstv.data.results.layout import TRACKED
from mstv.data.schema import Record
from mstv.tracking.media_loggers import Line, MediaLogger, log_by_horizon
from mstv.tracking.revisit_table import REVISIT_COLUMNS, revisit_numbers, revisit_table
from mstv.tracking.training_note import training_note

NUM_VIDEOS = 3
"""Of the first episodes, recorded beside generated."""
SIDE_BY_SIDE = "side_by_side"
SCORE_COLUMNS = ["metric", "against", "series", "horizon", "value", "low", "high", "episodes"]
ACTION_COLUMNS = ["series", "metric", "name", "horizon", "value", "low", "high"]
Row = list[str | int | float | None]


class TrackedRun(Part):
    """What one run of W&B or trackio has."""

    summary_sha256: str = Field(description="of the summary.json that was logged last")
    lines: tuple[str, ...] = Field(description="names of lines, which must not be logged twice")


class Tracked(Record):
    """`tracked.json`: where an evaluation was logged."""

    runs: dict[str, TrackedRun] = Field(description="by the id of the W&B run, or the name of trackio's")


def group_of(protocol: str) -> str:
    """What the names of an evaluation begin with."""
    return f"evaluation/{protocol}"


def log_evaluation(run: Run, protocol: str, logger: MediaLogger) -> bool:
    """Log an evaluation, or what was added to it since it was logged last.

    Args:
        run: has finished the evaluation.
        protocol: name of the evaluation.
        logger: of the run's W&B or trackio run.

    Returns:
        Whether there was anything new.

    Raises:
        UserError: a damaged file.
    """
    entry = Entry(run.name, run, run.evaluation(protocol))
    folder, group, where = entry.evaluation.folder, group_of(protocol), str(logger.version)
    tracked = Tracked.read(folder / TRACKED).runs if (folder / TRACKED).is_file() else {}
    before = tracked.get(where)
    digest = hashlib.sha256((folder / SUMMARY).read_bytes()).hexdigest()
    if before and before.summary_sha256 == digest:
        return False
    step = max(0, (entry.training.num_steps or 0) - 1)  # as the training's own numbers: from 0
    summary = entry.evaluation.summary
    # trackio forgets what an earlier process gave.
    logger.log_hyperparams({**_configuration(run), group: entry.card.model_dump(mode="json")})
    logger.log_metrics(numbers(group, entry), step=step)
    for name, columns, rows in _tables(summary):
        logger.log_table(f"{group}/{name}", columns, rows, step=step)
    for key in () if before else entry.card.episodes[:NUM_VIDEOS]:
        if (video := folder / SIDE_BY_SIDE / f"{key}.mp4").is_file():
            logger.log_video(f"{group}/video/{key}", [str(video)], step=step, format=["mp4"])
    known = before.lines if before else ()
    lines = {name: line for name, line in horizon_lines(protocol, entry).items() if name not in known}
    # Last: trackio's axis is the step, and these steps are horizons.
    log_by_horizon(logger, group, lines)
    tracked[where] = TrackedRun(summary_sha256=digest, lines=(*known, *lines))
    Tracked(runs=tracked).write(folder / TRACKED)
    return True


def horizon_lines(protocol: str, entry: Entry) -> dict[str, Line]:
    """Lines `METRIC/AGAINST/SERIES`: means over episodes, averaged over neighbouring horizons as the page's curves."""
    comparison = Comparison(protocol, (entry,))
    lines: dict[str, Line] = {}
    for panel in panels(comparison, averaged=True):
        for curve in panel.curves:
            lines[f"{panel.metric.name}/{panel.ground_truth}/{curve.series}"] = (curve.horizon, curve.mean)
    for part in entry.evaluation.summary.values:
        if part.overall is None:  # a distance, which single frames do not have
            horizon = np.array([window.horizon for window in part.horizons])
            values = np.array([window.value for window in part.horizons])
            lines[f"{part.metric}/{part.ground_truth}/{part.series}"] = (horizon, values)
    return lines


def numbers(group: str, entry: Entry) -> dict[str, float]:
    """Numbers of the rollout for the table of runs: by horizon, of all frames, at revisits, and its speed."""
    summary, found = entry.evaluation.summary, {}
    for part in summary.values:
        if part.series != "generated" or part.ground_truth == "decoded":
            continue
        for window in part.horizons:
            found[f"{group}/{part.metric}_h{window.horizon}"] = window.value
        if part.overall:
            found[f"{group}/{part.metric}_all"] = part.overall.value
        if part.pooled is not None:
            found[f"{group}/{part.metric}_pooled"] = part.pooled
    found |= revisit_numbers(group, summary.revisits)
    if summary.actions:
        for score in summary.actions.scores:
            if score.series == "generated" and not score.name:
                found[f"{group}/actions_{score.metric}"] = score.overall.value
    if summary.frames_per_second:
        found[f"{group}/frames_per_second"] = summary.frames_per_second
    found[f"{group}/token_evaluations_per_frame"] = entry.card.token_evaluations_per_frame
    return found


def _configuration(run: Run) -> dict[str, Any]:
    values = yaml.safe_load(run.config.read_text(encoding="utf-8")) if run.config.is_file() else {}
    record = run.training_record()
    return {**values, **(training_note(record) if record else {})}


def _tables(summary: Summary) -> Iterator[tuple[str, list[str], list[Row]]]:
    """Names, columns and rows; of what was not measured there is no table."""
    scores: list[Row] = []
    for part in summary.values:
        windows: list[tuple[int | str, WindowMean]] = [(window.horizon, window) for window in part.horizons]
        if part.overall:
            windows.append(("all", part.overall))
        kind = [part.metric, part.ground_truth, part.series]
        scores += [[*kind, str(name), *_mean(window), part.num_episodes] for name, window in windows]
    yield "scores", SCORE_COLUMNS, scores
    if summary.revisits:
        yield "revisits", list(REVISIT_COLUMNS), revisit_table(summary.revisits)
    if summary.actions:
        actions: list[Row] = []
        for score in summary.actions.scores:
            windows = [*((window.horizon, window) for window in score.horizons), ("all", score.overall)]
            actions += [[score.series, score.metric, score.name, str(name), *_mean(mean)] for name, mean in windows]
        yield "actions", ACTION_COLUMNS, actions


def _mean(part: WindowMean) -> list[float | None]:
    """Value and interval."""
    return [part.value, *(part.interval or (None, None))]


def video_names(protocol: str, entry: Entry) -> list[str]:
    """Names of the videos that are logged."""
    return [f"{group_of(protocol)}/video/{key}" for key in entry.card.episodes[:NUM_VIDEOS]]


def tracked_runs(folder: Path) -> list[str]:
    """Ids or names of the runs that have the evaluation of a folder."""
    return list(Tracked.read(folder / TRACKED).runs) if (folder / TRACKED).is_file() else []
