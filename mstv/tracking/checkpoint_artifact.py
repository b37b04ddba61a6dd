"""Checkpoints in W&B."""

from pathlib import Path

import wandb

LAST, BEST = "last.ckpt", "best.ckpt"


def log_checkpoints(folder: Path, step: int) -> None:
    """Log `last.ckpt` and, where there is one, `best.ckpt` as an artifact of the W&B run that is open.

    Nothing is copied: what is synchronised later is read from the run directory.

    Args:
        folder: the run's checkpoints.
        step: of the last one.
    """
    run = wandb.run
    assert run is not None, "the training has logged"
    artifact = wandb.Artifact(f"checkpoints-{run.id}", type="model", metadata={"step": step})
    # A file under this name never changes, whereas last.ckpt does when the training goes on.
    last = folder / f"step-{step}.ckpt"
    for path, name in ((last if last.is_file() else folder / LAST, LAST), (folder / BEST, BEST)):
        if path.is_file():
            artifact.add_file(str(path.resolve()), name=name, policy="immutable", skip_cache=True)
    run.log_artifact(artifact, aliases=["last", f"step-{step}"])
