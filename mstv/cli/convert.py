"""`mstv convert`: a published checkpoint as one of ours."""

import argparse
from pathlib import Path


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
    parser.add_argument("--windows", type=int, nargs="+", default=[3, 12, 48, 192], help="diffusion: plan's windows")
    parser.add_argument("--extra-context-tokens", type=int, default=768, help="diffusion: plan's E")


def run(arguments: argparse.Namespace) -> int:
    """Rename the weights, build our module from their sizes, load them and write the checkpoint."""
    import torch

    from mstv import checkpoint
    from mstv.data.schema import atomic_path
    from mstv.diffusion.module import DiffusionModule
    from mstv.errors import UserError
    from mstv.levels import Levels
    from mstv.published import PublishedDenoiser, PublishedTokenizer, denoiser_state, tokenizer_state
    from mstv.rollout.coarse_to_fine import CoarseToFine
    from mstv.tokenizer.module import TokenizerModule

    loaded = checkpoint.load_file(arguments.source)
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
            CoarseToFine(arguments.windows, arguments.extra_context_tokens),
            denoiser.latent_channels,
            denoiser.size,
            "discrete" if denoiser.num_actions else "none",
            denoiser.num_actions,
            attention="joint",
        )
        checkpoint.load_weights(module.denoiser, state, arguments.source)
        kind = "diffusion"
    with atomic_path(arguments.out) as temporary:
        checkpoint.write_weights(temporary, kind, module.config, module.state_dict())
    print(arguments.out)
    return 0
