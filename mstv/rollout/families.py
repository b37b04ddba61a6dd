"""The plan families by name, as checkpoints and metric cards store them, and by class path, as experiments do."""

from dataclasses import MISSING, asdict, fields
from typing import Any

from mstv.errors import UserError
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.framepack import FramePack, FramePackLatents, FramePackMirrored
from mstv.rollout.full_resolution import FullResolution
from mstv.rollout.plan import PlanFamily
from mstv.rollout.upscale import RolloutUpscale, Upscale

FAMILIES: dict[str, type[PlanFamily]] = {
    "coarse_to_fine": CoarseToFine,
    "full_resolution": FullResolution,
    "framepack": FramePack,
    "framepack_mirrored": FramePackMirrored,
    "framepack_latents": FramePackLatents,
    "upscale": Upscale,
    "rollout_upscale": RolloutUpscale,
}


def family_name(family: PlanFamily) -> str:
    """The name of a family."""
    return next(name for name, kind in FAMILIES.items() if type(family) is kind)


def family_to_dict(family: PlanFamily) -> dict[str, Any]:
    """Name and parameters of a family as plain values."""
    parameters = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(family).items()  # type: ignore[call-overload]
    }
    return {"family": family_name(family), **parameters}


def family_from_dict(values: dict[str, Any]) -> PlanFamily:
    """The inverse of `family_to_dict`.

    Raises:
        UserError: an unknown family, or parameters that it does not take.
    """
    parameters = dict(values)
    name = parameters.pop("family", None)
    if name not in FAMILIES:
        raise UserError(f"plan: family is {name}, expected one of {', '.join(FAMILIES)}")
    return _build(name, parameters)


def family_from_class_path(class_path: str, init_args: dict[str, Any]) -> PlanFamily:
    """The family that an experiment names by its class, `mstv.rollout.coarse_to_fine.CoarseToFine` or the last part.

    Nothing is imported for it: only the known families are looked through.

    Raises:
        UserError: an unknown class, or parameters that it does not take.
    """
    paths = {f"{kind.__module__}.{kind.__name__}": name for name, kind in FAMILIES.items()}
    for path, name in paths.items():
        if class_path in (path, path.rpartition(".")[2]):
            return _build(name, init_args)
    raise UserError(f"plan: class_path is {class_path}, expected one of {', '.join(paths)}")


def _build(name: str, parameters: dict[str, Any]) -> PlanFamily:
    kind = FAMILIES[name]
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for key, value in parameters.items():
        if key not in known:
            raise UserError(f"plan: {name}: {key} is unknown, expected {', '.join(known)}")
        # Every parameter of a family is an integer or one integer a level.
        if known[key].type is int and not _is_integer(value):
            raise UserError(f"plan: {name}: {key} must be an integer, got {value!r}")
        if known[key].type is not int and not (isinstance(value, list | tuple) and all(map(_is_integer, value))):
            raise UserError(f"plan: {name}: {key} must be a list of integers, got {value!r}")
    for key, field in known.items():
        if field.default is MISSING and key not in parameters:
            raise UserError(f"plan: {name}: {key} is missing")
    return kind(**parameters)


def _is_integer(value: object) -> bool:
    # YAML's true is an int of Python's.
    return isinstance(value, int) and not isinstance(value, bool)
