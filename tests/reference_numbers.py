"""Reading folders of reference numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor


class ReferenceNumbers:
    """One npz of reference arrays: `config`, weights under `state/`, and the arrays themselves."""

    def __init__(self, folder: Path, name: str) -> None:
        path = folder / name
        if not path.is_file():
            pytest.skip(f"{folder} holds no {name}")
        with np.load(path, allow_pickle=False) as archive:
            self.arrays = {key: torch.from_numpy(archive[key]) for key in archive.files if key != "config"}
            self.config = json.loads(str(archive["config"])) if "config" in archive.files else {}

    def __getitem__(self, key: str) -> Tensor:
        return self.arrays[key]

    def names(self, prefix: str) -> list[str]:
        return [key for key in self.arrays if key.startswith(prefix)]

    @property
    def state(self) -> dict[str, Tensor]:
        return {key.removeprefix("state/"): self.arrays[key] for key in self.names("state/")}


def assert_agrees(actual: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """max|difference| / max|reference| is at most `tolerance`."""
    assert actual.shape == expected.shape, what
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error <= tolerance, f"{what}: relative error {error:.2e} > {tolerance:.0e}"
