"""After an evaluation: its results in the run of W&B or trackio that the training logged to."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import wandb
import yaml

from mstv.data.results import read_run
from mstv.tracking.evaluation_log import log_evaluation
from mstv.tracking.media_loggers import MediaLogger
from mstv.tracking.trackio_logger import TrackioLogger
from mstv.tracking.wandb_run import PROJECT, wandb_id, wandb_logger


def track(folder: Path, protocol: str, wanted: bool | None) -> None:
    """Log a finished evaluation; what goes wrong is said, and is not the end of anything.

    Args:
        folder: the run directory.
        protocol: name of the evaluation.
        wanted: whether to log; None does where the training logged to W&B or trackio.
    """
    if wanted is False:
        return
    try:
        run = read_run(folder)
        config = yaml.safe_load(run.config.read_text(encoding="utf-8")) if run.config.is_file() else {}
        loggers = _loggers(folder, config, wanted)
        for logger in loggers:
            try:
                if log_evaluation(run, protocol, logger):
                    print(f"{folder}: the evaluation is in {_place(logger, folder)}")
            finally:
                logger.finalize("success")
    except Exception as error:
        what = " ".join(str(error).split()) or type(error).__name__
        print(f"mstv: the evaluation is not logged ({what}); the files of the evaluation are whole", file=sys.stderr)
    finally:
        with contextlib.suppress(Exception):
            wandb.finish()


def _loggers(folder: Path, config: dict[str, Any], wanted: bool | None) -> list[MediaLogger]:
    """Those that the training had; W&B where it is wanted without a training."""
    given = (config.get("trainer") or {}).get("logger")
    loggers: list[MediaLogger] = []
    for each in given if isinstance(given, list) else [given]:
        if isinstance(each, dict) and str(each.get("class_path")).endswith(TrackioLogger.__name__):
            arguments = each.get("init_args") or {}
            name = arguments.get("run") or folder.resolve().name
            loggers.append(TrackioLogger(arguments.get("project", PROJECT), name))
    trained_with = given in (None, True) and bool(config.get("wandb")) and wandb_id(folder) is not None
    if wanted or trained_with:
        project, offline = config.get("wandb_project", PROJECT), config.get("wandb_offline", True)
        loggers.append(wandb_logger(folder, project, offline))
    return loggers


def _place(logger: MediaLogger, folder: Path) -> str:
    """Where the numbers are, and how they come to a server if they are here alone."""
    if isinstance(logger, TrackioLogger):
        return f"trackio, run {logger.run}"
    if getattr(logger.experiment, "offline", False):
        kept = folder / "wandb"
        return f"{kept}, run {logger.version}, on this machine alone: wandb sync {kept}/offline-run-* uploads it"
    return f"W&B, run {logger.version}"
