"""Published checkpoints: their parameter names under ours, and the sizes that their weights tell."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mstv.errors import UserError
from mstv.transformer.size import TransformerSize

_BLOCK = [
    (r"\.attn\.", ".attention."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
    (r"adaLN_modulation\.", "modulation."),
]
_TOKENIZER = [
    *_BLOCK,
    (r"coder\.level_embedding\.", "coder.embedding.level."),
    (r"^encoder\.patchify\.", "encoder.patch_embedding."),
    (r"^encoder\.bottleneck\.", "encoder.to_latents."),
    (r"^decoder\.unbottleneck\.", "decoder.from_latents."),
    (r"^decoder\.unpatchify\.", "decoder.to_patches."),
]
_DENOISER = [
    # A denoiser inside a training checkpoint has one more `dit.` in front of every name.
    (r"^dit\.(?=patchify\.|unpatchify\.|dit\.(dit|time_embedding|level_embedding|action_encoder)\.)", ""),
    *_BLOCK,
    (r"^dit\.dit\.", "transformer."),
    (r"^dit\.time_embedding\.", "time."),
    (r"^dit\.level_embedding\.", "level."),
    (r"^dit\.action_encoder\.action_embedding\.", "action.table."),
    # FramePack's input has a layer per level; that of level 0 is our layer of single latents.
    (r"^patchify\.(?=[1-9])", "from_patches."),
    (r"^patchify\.(0\.)?", "from_latents."),
    (r"^unpatchify\.linear\.", "to_latents."),
    (r"^unpatchify\.", ""),
]


def _rename(state: Mapping[str, Tensor], rules: list[tuple[str, str]]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def tokenizer_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a published tokenizer under the names of `mstv.tokenizer.tokenizer.Tokenizer`."""
    return _rename(state, _TOKENIZER)


def denoiser_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a published denoiser under the names of `Denoiser`, or of `FramePackDenoiser`."""
    return _rename(state, _DENOISER)


def transformer_size(state: Mapping[str, Tensor], prefix: str) -> TransformerSize:
    """Size of the transformer whose blocks stand in `state`, in our names, under `prefix`.

    Raises:
        UserError: no such blocks.
    """
    blocks = {int(m[1]) for name in state if (m := re.match(re.escape(prefix) + r"\.blocks\.(\d+)\.", name))}
    try:
        first = f"{prefix}.blocks.0"
        hidden, dim = state[f"{first}.mlp.0.weight"].shape
        head = len(state[f"{first}.attention.q_norm.weight"])
    except KeyError as error:
        raise UserError(f"checkpoint: holds no weight {error}: it is not the published architecture") from None
    return TransformerSize(dim, len(blocks), dim // head, hidden / dim)


@dataclass(frozen=True)
class PublishedTokenizer:
    """What a published tokenizer's weights tell of it."""

    encoder: TransformerSize
    decoder: TransformerSize
    num_levels: int
    latent_channels: int
    patch_pixels: int
    """ph * pw; the weights do not tell the two apart."""

    @staticmethod
    def of(state: Mapping[str, Tensor]) -> "PublishedTokenizer":
        """Read the sizes off weights in our names."""
        encoder = transformer_size(state, "encoder.transformer")
        return PublishedTokenizer(
            encoder=encoder,
            decoder=transformer_size(state, "decoder.transformer"),
            num_levels=len(state["encoder.embedding.level.weight"]),
            latent_channels=len(state["encoder.to_latents.weight"]),
            patch_pixels=state["encoder.patch_embedding.weight"].shape[1] // 3,
        )


@dataclass(frozen=True)
class PublishedDenoiser:
    """What a published denoiser's weights tell of it."""

    size: TransformerSize
    num_levels: int
    latent_channels: int
    num_actions: int
    """0 if the model takes no actions."""
    merges_context: bool = False
    """Whether it is the FramePack baseline, whose input merges its context; with one level the two are the same."""

    @staticmethod
    def of(state: Mapping[str, Tensor]) -> "PublishedDenoiser":
        """Read the sizes off weights in our names."""
        size = transformer_size(state, "transformer")
        table = state.get("action.table.weight")
        return PublishedDenoiser(
            size=size,
            num_levels=len(state["level.weight"]),
            latent_channels=state["from_latents.weight"].shape[1],
            num_actions=0 if table is None else len(table),
            merges_context=any(name.startswith("from_patches.") for name in state),
        )
