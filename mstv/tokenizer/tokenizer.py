"""The per-frame tokenizer: an encoder to tokens of every level, a decoder from the tokens of any one level."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mstv.levels import Levels
from mstv.tokenizer.patchify import patchify, pyramid, token_coordinates, unpatchify
from mstv.transformer.embeddings import position_2d
from mstv.transformer.size import TransformerSize
from mstv.transformer.transformer import Transformer


class _TokenEmbedding(nn.Module):
    """Position on the token's own grid plus a learned embedding of its level, (N, D)."""

    position: Tensor
    level_of_token: Tensor

    def __init__(self, levels: Levels, dim: int) -> None:
        super().__init__()
        level, row, column = token_coordinates(levels)
        self.register_buffer("level_of_token", level, persistent=False)
        self.register_buffer("position", position_2d(row, column, dim), persistent=False)
        self.level = nn.Embedding(levels.num_levels, dim)

    def forward(self) -> Float[Tensor, "N D"]:
        return self.position + self.level(self.level_of_token)


class Encoder(nn.Module):
    """Frames (B, 3, H, W) in [0, 1] to latents (B, N, C) in (-1, 1) of all levels' tokens, attended jointly."""

    def __init__(self, levels: Levels, latent_channels: int, size: TransformerSize) -> None:
        super().__init__()
        self.levels = levels
        ph, pw = levels.patch_size
        self.patch_embedding = nn.Linear(3 * ph * pw, size.dim)
        self.embedding = _TokenEmbedding(levels, size.dim)
        self.transformer = Transformer(size.dim, size.depth, size.num_heads, size.mlp_ratio)
        self.to_latents = nn.Linear(size.dim, latent_channels)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N C"]:
        """Encode frames."""
        patches = patchify(pyramid(images, self.levels.num_levels), self.levels)
        x = self.transformer(self.patch_embedding(patches) + self.embedding())
        return torch.tanh(self.to_latents(x))


class Decoder(nn.Module):
    """Latents of one kept level to the images of every level; zeroed latents still enter with bias and position."""

    def __init__(self, levels: Levels, latent_channels: int, size: TransformerSize) -> None:
        super().__init__()
        self.levels = levels
        ph, pw = levels.patch_size
        self.from_latents = nn.Linear(latent_channels, size.dim)
        self.embedding = _TokenEmbedding(levels, size.dim)
        self.transformer = Transformer(size.dim, size.depth, size.num_heads, size.mlp_ratio, conditional=True)
        self.to_patches = nn.Linear(size.dim, 3 * ph * pw)

    def forward(self, latents: Float[Tensor, "B N C"], kept_level: Int[Tensor, " B"]) -> list[Float[Tensor, "B 3 _ _"]]:
        """Decode each sample from its kept level alone; unclamped images of all levels, level 0 first.

        Args:
            latents: latents of all levels; those of other levels than the kept one are ignored.
            kept_level: level that each sample is decoded from.
        """
        kept = self.embedding.level_of_token == kept_level[:, None]
        x = self.from_latents(latents * kept[..., None]) + self.embedding()
        condition = self.embedding.level(kept_level)[:, None]
        return unpatchify(self.to_patches(self.transformer(x, condition)), self.levels)


class Tokenizer(nn.Module):
    """Encoder and decoder.

    Args:
        levels: the token pyramid.
        latent_channels: C.
        encoder: size of the encoder.
        decoder: size of the decoder.
        cascaded: ablation; coarser latents are 2^l x 2^l means of the (detached) level-0 latents.
    """

    def __init__(
        self,
        levels: Levels,
        latent_channels: int,
        encoder: TransformerSize,
        decoder: TransformerSize,
        cascaded: bool = False,
    ) -> None:
        super().__init__()
        self.levels = levels
        self.latent_channels = latent_channels
        self.cascaded = cascaded
        self.encoder = Encoder(levels, latent_channels, encoder)
        self.decoder = Decoder(levels, latent_channels, decoder)

    def encode_tokens(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N C"]:
        """Latents of all levels in one sequence, level 0 first, row-major."""
        latents = self.encoder(images)
        return self._cascade(latents) if self.cascaded else latents

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ C"]]:
        """Latents (B, rows, columns, C) of each level of frames in [0, 1]."""
        return self.split(self.encode_tokens(images))

    def decode(self, latents: Float[Tensor, "B h w C"], level: int = 0) -> Float[Tensor, "B 3 H W"]:
        """Frames in [0, 1] from the latents (B, rows, columns, C) of `level` alone."""
        batch = latents.shape[0]
        counts = self.levels.tokens_per_level
        tokens = latents.new_zeros(batch, sum(counts), self.latent_channels)
        start = sum(counts[:level])
        tokens[:, start : start + counts[level]] = latents.flatten(1, 2)
        kept = torch.full((batch,), level, device=latents.device)
        return self.decoder(tokens, kept)[0].clamp(0, 1)

    def split(self, tokens: Float[Tensor, "B N C"]) -> list[Float[Tensor, "B _ _ C"]]:
        """A sequence of all levels' tokens as one grid per level."""
        parts = tokens.split(self.levels.tokens_per_level, 1)
        return [part.unflatten(1, self.levels.grid(level)) for level, part in enumerate(parts)]

    def _cascade(self, tokens: Float[Tensor, "B N C"]) -> Float[Tensor, "B N C"]:
        finest = self.split(tokens)[0]
        grids = pyramid(finest.detach().permute(0, 3, 1, 2), self.levels.num_levels)
        coarse = [grid.permute(0, 2, 3, 1).flatten(1, 2) for grid in grids[1:]]
        return torch.cat([finest.flatten(1, 2), *coarse], 1)


def reconstruction_losses(
    decoded: Sequence[Float[Tensor, "B 3 _ _"]], images: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, " B"]:
    """Of each image the mean over its elements of 4^level * squared error, against its mean-pooled images."""
    targets = pyramid(images, len(decoded))
    errors = zip(decoded, targets, strict=True)
    total = sum(4**level * (a - b).square().sum((1, 2, 3)) for level, (a, b) in enumerate(errors))
    return total / sum(target[0].numel() for target in targets)
