"""Finding the checkpoint of a run."""

from pathlib import Path

from mstv.errors import UserError


def resolve_checkpoint(path: Path) -> Path:
    """A checkpoint file as it is; of a run directory, its last one.

    Raises:
        UserError: neither.
    """
    if path.is_dir():
        last = path / "checkpoints" / "last.ckpt"
        if not last.is_file():
            raise UserError(f"{path}: holds no checkpoints/last.ckpt: give a checkpoint or a trained run directory")
        return last
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint or run directory")
    return path
