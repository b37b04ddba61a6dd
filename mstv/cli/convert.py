"""`mstv convert`: a published checkpoint as one of ours, with the plan that its weights do not tell."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mstv.errors import UserError
from mstv.rollout.families import FAMILIES, family_from_dict

if TYPE_CHECKING:
    from mstv.published import PublishedDenoiser
    from mstv.rollout.plan import PlanFamily

DEFAULTS: dict[str, dict[str, Any]] = {"coarse_to_fine": {"windows": [3, 12, 48, 192], "extra_context_tokens": 768}}
"""The plan of the published main model."""


def size(text: str) -> tuple[int, int]:
    """(H, W) of N or HxW."""
    parts = [int(part) for part in text.lower().split("x")]
    return (parts[0], parts[-1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("kind", choices=["tokenizer", "diffusion"], help="what the checkpoint holds")
    parser.add_argument("source", type=Path, help="published checkpoint: a torch-saved dict with the entry `model`")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("--image-size", type=size, required=True, help="N or HxW in pixels; weights do not tell it")
    parser.add_argument("--patch-size", type=size, required=True, help="N or HxW in pixels")
    parser.add_argument("--cascaded", action="store_true", help="tokenizer: the cascaded ablation")
    parser.add_argument(
        "--plan",
        choices=list(FAMILIES),
        help="diffusion: plan family (default: framepack_latents for the FramePack baseline, else coarse_to_fine)",
    )
    for name in sorted({name for family in FAMILIES for name in parameters(family)}):
        takers = ", ".join(family for family in FAMILIES if name in parameters(family))
        parser.add_argument(flag(name), type=int, nargs="+", metavar="N", help=f"diffusion: parameter of {takers}")


def flag(name: str) -> str:
    """The option that states a plan's parameter."""
    return f"--{name.replace('_', '-')}"


def parameters(family: str) -> dict[str, Field[Any]]:
    """The parameters that a plan family takes."""
    return {field.name: field for field in fields(FAMILIES[family])}  # type: ignore[arg-type]


def plan_family(arguments: argparse.Namespace, weights: PublishedDenoiser) -> PlanFamily:
    """The plan that the command line states for `weights`, which do not tell it.

    Raises:
        UserError: a plan that does not fit the weights, parameters missing or of another plan.
    """
    name = arguments.plan or ("framepack_latents" if weights.merges_context else "coarse_to_fine")
    if weights.num_levels > 1 and weights.merges_context != (name == "framepack_latents"):
        which = "" if weights.merges_context else "not "
        raise UserError(f"--plan {name}: the weights are {which}those of the FramePack baseline: choose another plan")
    taken = parameters(name)
    values = dict(DEFAULTS.get(name, {}))
    for other in sorted({key for family in FAMILIES for key in parameters(family)}):
        given = getattr(arguments, other)
        if given is None:
            continue
        if other not in taken:
            raise UserError(f"{flag(other)} is no parameter of {name}: leave it out")
        values[other] = given[0] if taken[other].type is int and len(given) == 1 else given
    missing = [flag(key) for key, field in taken.items() if key not in values and field.default is MISSING]
    if missing:
        raise UserError(f"plan {name} needs {' and '.join(missing)}: the weights do not tell it")
    return family_from_dict({"family": name, **values})


def run(arguments: argparse.Namespace) -> int:
    """Rename the weights, build our module from their sizes, load them and write the checkpoint."""
    import torch

    from mstv import checkpoint
    from mstv.data.schema import atomic_path
    from mstv.diffusion.module import DiffusionModule
    from mstv.levels import Levels
    from mstv.published import PublishedDenoiser, PublishedTokenizer, denoiser_state, tokenizer_state
    from mstv.tokenizer.module import TokenizerModule

    loaded = checkpoint.load_file(arguments.source)
    if isinstance(loaded.get(checkpoint.FIELD), dict):
        raise UserError(f"{arguments.source}: is an mstv checkpoint already: use it as it is")
    state = loaded.get("model")
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{arguments.source}: field model holds no weights: it is not a published checkpoint")
    module: TokenizerModule | DiffusionModule
    if arguments.kind == "tokenizer":
        state = tokenizer_state(state)
        found = PublishedTokenizer.of(state)
        levels = Levels(arguments.image_size, arguments.patch_size, found.num_levels)
        if found.patch_pixels != arguments.patch_size[0] * arguments.patch_size[1]:
            raise UserError(
                f"{arguments.source}: patches have {found.patch_pixels} pixels, --patch-size gives "
                f"{arguments.patch_size[0] * arguments.patch_size[1]}"
            )
        module = TokenizerModule(levels, found.latent_channels, found.encoder, found.decoder, arguments.cascaded)
        checkpoint.load_weights(module.tokenizer, state, arguments.source)
        kind = "tokenizer"
    else:
        state = denoiser_state(state)
        denoiser = PublishedDenoiser.of(state)
        levels = Levels(arguments.image_size, arguments.patch_size, denoiser.num_levels)
        module = DiffusionModule(
            levels,
            plan_family(arguments, denoiser),
            denoiser.latent_channels,
            denoiser.size,
            "discrete" if denoiser.num_actions else "none",
            denoiser.num_actions,
            attention="joint",
        )
        if module.plan.num_levels > denoiser.num_levels:
            raise UserError(
                f"{arguments.source}: has {denoiser.num_levels} levels, the plan uses {module.plan.num_levels}: "
                "give a plan of fewer levels"
            )
        checkpoint.load_weights(module.denoiser, state, arguments.source)
        kind = "diffusion"
    with atomic_path(arguments.out) as temporary:
        checkpoint.write_weights(temporary, kind, module.config, module.state_dict())
    print(arguments.out)
    return 0
