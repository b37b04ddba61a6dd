"""Sizes of the transformer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TransformerSize:
    """Width, depth and heads. Published sizes: S = 384, 12, 6; B = 768, 12, 12; L = 1024, 24, 16; XL = 1152, 28, 16.

    Args:
        dim: width d.
        depth: number of blocks.
        num_heads: attention heads; they divide `dim`.
        mlp_ratio: hidden width of the MLP over d.
    """

    dim: int
    depth: int
    num_heads: int
    mlp_ratio: float = 4.0
