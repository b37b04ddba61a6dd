"""The W&B run of a run directory."""

import re
import secrets
from pathlib import Path

import wandb
from lightning.pytorch.loggers import WandbLogger

PROJECT = "mstv"
"""Where runs are in W&B unless told otherwise."""


def wandb_id(run: Path) -> str | None:
    """Id of the run's W&B run, as its folders have it; None where it has none."""
    found = [re.fullmatch(r"(?:offline-)?run-\d+_\d+-(\w+)", path.name) for path in sorted(run.glob("wandb/*run-*"))]
    ids = [match[1] for match in found if match]
    return ids[-1] if ids else None


def wandb_logger(run: Path, project: str, offline: bool) -> WandbLogger:
    """Logs to the run's W&B run, or to a new one; every process has a folder of its own, of the same id.

    Args:
        run: the run directory.
        project: name in W&B.
        offline: log into the run directory alone.
    """
    logger = WandbLogger(
        name=run.resolve().name,
        id=wandb_id(run) or secrets.token_hex(4),
        project=project,
        save_dir=run,
        # Lightning's `offline` sets a variable of the environment, which wandb may have read already.
        mode="offline" if offline else None,
        resume="allow",
        settings=wandb.Settings(silent=True),
    )
    # wandb warns of this setting at every start.
    logger._wandb_init.pop("anonymous", None)
    return logger
