"""What a training begins with: the checkpoint it resumes from, the weights of another run."""

import zipfile
from pathlib import Path

from mstv import checkpoint
from mstv.callbacks.rolling_checkpoint import LAST
from mstv.errors import UserError
from mstv.trained_module import TrainedModule


def checkpoint_to_resume(folder: Path) -> Path | None:
    """The checkpoint that a run goes on from; None for a new run.

    That is last.ckpt, or the newest of the older ones where a kill, or a user, left none.

    Raises:
        UserError: it is damaged; names the newest that is not.
    """
    older = sorted(folder.glob("step-*.ckpt"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    last = folder / LAST
    chosen = last if last.exists() else next(iter(older), None)
    if chosen is None:
        return None
    damage = _damage(chosen)
    if damage is None:
        return chosen
    whole = [path for path in older if path != chosen and _damage(path) is None]
    if whole:
        how = f"go on from an older one, {', '.join(path.name for path in whole)}: cp {whole[0]} {last}"
    else:
        how = f"no older one is whole: delete {folder} to begin anew"
    raise UserError(f"{chosen}: damaged ({damage}): {how}")


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file; every byte is read, and compared with the sums beside it."""
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        return str(error)
    return None if bad is None else f"in {bad}"


def load_weights_of(path: Path, module: TrainedModule) -> None:
    """Begin with the (averaged) weights of another run.

    Raises:
        UserError: not a checkpoint of the same kind of model and of the same shapes.
    """
    _, state, _ = checkpoint.read_checkpoint(path, module.kind)
    checkpoint.load_weights(module, state, path)
