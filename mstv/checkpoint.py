"""What every checkpoint of ours says of itself, so that a model can be rebuilt from the file alone."""

import hashlib
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mstv.errors import UserError

FIELD = "mstv"
SCHEMA_VERSION = 1


class Checkpoint(NamedTuple):
    """A checkpoint as read: the model's plain configuration, its weights, and their sha256."""

    config: dict[str, Any]
    state: dict[str, Tensor]
    sha256: str


def describe(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """The entry under `FIELD` of a checkpoint; `config` holds plain values only, so that weights_only loads it."""
    return {"schema_version": SCHEMA_VERSION, "kind": kind, "config": config}


def load_file(path: Path) -> dict[str, Any]:
    """A torch-saved dict, loaded with weights_only.

    Raises:
        UserError: no such file, or not a torch-saved dict of plain values and tensors.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint: give a file")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):
        raise UserError(f"{path}: not a torch checkpoint of tensors and plain values, or damaged") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: holds a {type(loaded).__name__}, expected a dict with the weights")
    return loaded


def check_kind(loaded: dict[str, Any], kind: str, path: Path) -> dict[str, Any]:
    """Configuration of the model of a loaded checkpoint.

    Raises:
        UserError: not a checkpoint of ours, of another schema version, or of another kind of model.
    """
    entry = loaded.get(FIELD)
    if not isinstance(entry, dict):
        raise UserError(f"{path}: field {FIELD} is missing: not an mstv checkpoint (see `mstv convert`)")
    if entry["schema_version"] != SCHEMA_VERSION:
        raise UserError(f"{path}: field schema_version is {entry['schema_version']}, this mstv reads {SCHEMA_VERSION}")
    if entry["kind"] != kind:
        article = "an" if kind[0] in "aeiou" else "a"
        raise UserError(f"{path}: field kind is {entry['kind']}, expected {kind}: give {article} {kind} checkpoint")
    return entry["config"]


def read_checkpoint(path: Path, kind: str) -> Checkpoint:
    """Read a checkpoint of ours; see `load_file` and `check_kind` for the errors."""
    loaded = load_file(path)
    config = check_kind(loaded, kind, path)
    state = loaded["state_dict"]
    return Checkpoint(config, state, weights_sha256(state))


def weights_sha256(state: dict[str, Tensor]) -> str:
    """Identity of a model's weights, whatever else (an optimiser's state) a file holds with them."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_weights(path: Path, kind: str, config: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Write a checkpoint that holds a model and nothing else."""
    torch.save({FIELD: describe(kind, config), "state_dict": state}, path)


def load_weights(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load `state` into `module`.

    Raises:
        UserError: names or shapes differ, that is, the checkpoint is of another architecture.
    """
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if expected != found:
        name = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))[0]
        raise UserError(
            f"{path}: field {name} is {found.get(name, 'absent')}, this model expects {expected.get(name, 'none')}: "
            "the checkpoint is of another architecture"
        )
    module.load_state_dict(state)


def check_same_model(loaded: dict[str, Any], kind: str, config: dict[str, Any], path: Path) -> None:
    """Refuse to resume from a checkpoint whose model differs from `config`.

    Raises:
        UserError: names the first field that differs.
    """
    found = check_kind(loaded, kind, path)
    for name, value in config.items():
        if found.get(name) != value:
            raise UserError(
                f"{path}: field {name} is {found.get(name)}, this model has {value}: "
                "it is of another architecture; train in another run directory"
            )
