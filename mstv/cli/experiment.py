"""What a diffusion experiment says of its tokens, read without building a model."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mstv.errors import UserError
from mstv.levels import Levels
from mstv.rollout.cost import AttentionMode
from mstv.rollout.families import FAMILIES, family_from_class_path
from mstv.rollout.plan import PlanFamily
from mstv.transformer.size import TransformerSize

EXAMPLE = "see experiments/demo_diffusion.yaml"
Count = Annotated[int, Field(strict=True, ge=1)]


@dataclass(frozen=True)
class Experiment:
    """Pyramid, plan and transformer of a diffusion experiment.

    Attributes:
        name: its YAML, or its layers joined by +.
        levels: the token pyramid.
        family: the plan with its parameters.
        size: size of the transformer.
        attention: what context tokens see.
    """

    name: str
    levels: Levels
    family: PlanFamily
    size: TransformerSize
    attention: AttentionMode

    @staticmethod
    def read(paths: Sequence[Path]) -> "Experiment":
        """Read an experiment, given as layers, or the `config.yaml` of a run.

        Raises:
            UserError: a file that is none, a field missing or wrong, a plan that does not fit the levels.
        """
        name = "+".join(map(str, paths))
        try:
            found = _File.model_validate(read_layers(paths))
            # Parameters may fit the family, and not the tokens.
            levels = Levels(found.levels.image_size, found.levels.patch_size, found.levels.num_levels)
            family = family_from_class_path(found.plan.class_path, found.plan.init_args)
            plan = family.plan(levels.num_tokens(0))
        except ValidationError as error:
            raise UserError(f"{name}: {_first(error)}: {EXAMPLE}") from None
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        if plan.num_levels > levels.num_levels:
            raise UserError(
                f"{name}: plan: uses {plan.num_levels} levels, but levels.num_levels is {levels.num_levels}: "
                "raise it or plan fewer levels"
            )
        arguments = found.model.init_args
        size = TransformerSize(**arguments.size.model_dump())
        return Experiment(name, levels, family, size, arguments.attention)


def layers(text: str) -> tuple[Path, ...]:
    """The files of `A.yaml+B.yaml`, or the one file whose name has the + itself."""
    return (Path(text),) if Path(text).exists() else tuple(map(Path, text.split("+")))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Levels(_Strict):
    image_size: tuple[Count, Count]
    patch_size: tuple[Count, Count]
    num_levels: Count


class _Plan(_Strict):
    class_path: str
    init_args: dict[str, Any] = Field(default_factory=dict)


class _Size(_Strict):
    dim: Count
    depth: Count
    num_heads: Count
    mlp_ratio: Annotated[float, Field(gt=0)] = TransformerSize.mlp_ratio


class _ModelArguments(BaseModel):
    size: _Size
    attention: AttentionMode = "isolated"


class _Model(BaseModel):
    init_args: _ModelArguments


class _File(BaseModel):
    """The fields that matter here; `mstv fit` checks the others."""

    levels: _Levels
    plan: _Plan
    model: _Model


def read_yaml(path: Path) -> dict[str, Any]:
    """The fields of an experiment or of the `config.yaml` of a run, unchecked.

    Raises:
        UserError: a file that cannot be read, that is not YAML, or that holds no fields; it does not name the file.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror}): give the YAML of a diffusion experiment") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UserError(f"is not YAML{where} ({getattr(error, 'problem', None) or 'not text'}): mend it") from None
    if not isinstance(values, dict):
        raise UserError(f"holds no fields: {EXAMPLE}")
    return values


def read_layers(paths: Sequence[Path]) -> dict[str, Any]:
    """The fields of an experiment whose later layers override earlier ones, as `mstv fit -c A -c B` merges them.

    Fields are merged one by one, lists are replaced. A layer with another class keeps the arguments before it that its
    class knows. Lists that a layer appends to (`callbacks+`) are left under that name.

    Raises:
        UserError: as `read_yaml`.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            merged = _merged(merged, read_yaml(path))
        except UserError as error:
            # The caller names a file that is alone.
            raise UserError(f"layer {path}: {error}" if len(paths) > 1 else str(error)) from None
    return merged


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`."""
    if "class_path" in above and above["class_path"] != below.get("class_path"):
        below = {"init_args": _known(above["class_path"], below.get("init_args") or {})}
    merged = dict(below)
    for name, value in above.items():
        under = below.get(name)
        merged[name] = _merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _known(class_path: object, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that a plan family of this class takes; none for any other class."""
    name = str(class_path).rpartition(".")[2]
    known = {field.name for kind in FAMILIES.values() if kind.__name__ == name for field in fields(kind)}  # type: ignore[arg-type]
    return {key: value for key, value in arguments.items() if key in known}


def _first(error: ValidationError) -> str:
    """The first thing wrong, in one line."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing" or first["input"] is None:
        return f"field {field} is missing"
    if first["type"] == "model_type":
        return f"field {field} must hold fields of its own, got {first['input']!r}"
    return f"field {field}: {first['msg']}, got {first['input']!r}"
