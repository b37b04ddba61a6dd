"""What a diffusion experiment says of its tokens, read without building a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mstv.errors import UserError
from mstv.levels import Levels
from mstv.rollout.cost import AttentionMode
from mstv.rollout.families import family_from_class_path
from mstv.rollout.plan import PlanFamily
from mstv.transformer.size import TransformerSize

EXAMPLE = "see experiments/demo_diffusion.yaml"
Count = Annotated[int, Field(strict=True, ge=1)]


@dataclass(frozen=True)
class Experiment:
    """Pyramid, plan and transformer of a diffusion experiment.

    Attributes:
        path: its YAML.
        levels: the token pyramid.
        family: the plan with its parameters.
        size: size of the transformer.
        attention: what context tokens see.
    """

    path: Path
    levels: Levels
    family: PlanFamily
    size: TransformerSize
    attention: AttentionMode

    @staticmethod
    def read(path: Path) -> "Experiment":
        """Read an experiment or the `config.yaml` of a run.

        Raises:
            UserError: a file that is none, a field missing or wrong, a plan that does not fit the levels.
        """
        try:
            found = _File.model_validate(read_yaml(path))
            # Parameters may fit the family, and not the tokens.
            levels = Levels(found.levels.image_size, found.levels.patch_size, found.levels.num_levels)
            family = family_from_class_path(found.plan.class_path, found.plan.init_args)
            plan = family.plan(levels.num_tokens(0))
        except ValidationError as error:
            raise UserError(f"{path}: {_first(error)}: {EXAMPLE}") from None
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if plan.num_levels > levels.num_levels:
            raise UserError(
                f"{path}: plan: uses {plan.num_levels} levels, but levels.num_levels is {levels.num_levels}: "
                "raise it or plan fewer levels"
            )
        arguments = found.model.init_args
        size = TransformerSize(**arguments.size.model_dump())
        return Experiment(path, levels, family, size, arguments.attention)


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


def _first(error: ValidationError) -> str:
    """The first thing wrong, in one line."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing" or first["input"] is None:
        return f"field {field} is missing"
    if first["type"] == "model_type":
        return f"field {field} must hold fields of its own, got {first['input']!r}"
    return f"field {field}: {first['msg']}, got {first['input']!r}"
