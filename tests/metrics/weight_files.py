"""Files of random weights in the form of the public ones."""

from pathlib import Path

import torch
from torch import nn


def randomise(module: nn.Module) -> None:
    """Weights large enough that every input shows in the output, unlike those of initialisation."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)


def write_weights(path: Path, module: nn.Module, extra: dict[str, torch.Tensor] | None = None) -> Path:
    """Save the tensors of `module` and `extra` ones."""
    torch.save(module.state_dict() | (extra or {}), path)
    return path
