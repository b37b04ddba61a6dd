"""Arrays of finished episodes, kept episode by episode until all are there."""

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from mstv.data.schema import atomic_path
from mstv.errors import UserError


@dataclass(frozen=True)
class ArrayParts:
    """Named arrays of each episode, in a file of its own.

    Attributes:
        folder: of the files, in that of the evaluation.
    """

    folder: str

    def write(self, evaluation: Path, episode: str, arrays: dict[str, Shaped[np.ndarray, "..."]]) -> None:
        """Write all arrays of one episode, atomically."""
        with atomic_path(self._path(evaluation, episode)) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # names are none of its options

    def read(self, evaluation: Path, episode: str) -> dict[str, Shaped[np.ndarray, "..."]]:
        """What `write` wrote; empty if it did not.

        Raises:
            UserError: a damaged file.
        """
        path = self._path(evaluation, episode)
        if not path.is_file():
            return {}
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: cannot be read ({error}): delete it and evaluate again") from None

    def remove(self, evaluation: Path) -> None:
        """Remove the files of all episodes."""
        shutil.rmtree(evaluation / self.folder, ignore_errors=True)

    def _path(self, evaluation: Path, episode: str) -> Path:
        return evaluation / self.folder / f"{episode}.npz"
