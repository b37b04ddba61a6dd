"""The plan families by name, as checkpoints and metric cards store them."""

from dataclasses import asdict
from typing import Any

from mstv.errors import UserError
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.full_resolution import FullResolution
from mstv.rollout.plan import PlanFamily

FAMILIES: dict[str, type[PlanFamily]] = {"coarse_to_fine": CoarseToFine, "full_resolution": FullResolution}


def family_to_dict(family: PlanFamily) -> dict[str, Any]:
    """Name and parameters of a family as plain values."""
    name = next(name for name, kind in FAMILIES.items() if type(family) is kind)
    parameters = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(family).items()  # type: ignore[call-overload]
    }
    return {"family": name, **parameters}


def family_from_dict(values: dict[str, Any]) -> PlanFamily:
    """The inverse of `family_to_dict`.

    Raises:
        UserError: an unknown family or parameter.
    """
    parameters = dict(values)
    name = parameters.pop("family", None)
    if name not in FAMILIES:
        raise UserError(f"plan: family is {name}, expected one of {', '.join(FAMILIES)}")
    try:
        return FAMILIES[name](**parameters)
    except TypeError as error:
        raise UserError(f"plan: {name}: {error}") from None
