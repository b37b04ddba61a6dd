"""The vision transformer of DINOv2 under its public checkpoint's parameter names."""

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mstv.metrics.weights import PublicWeights, WeightFile

PATCH = 14
ViTSize = Literal["vits14", "vitb14"]
SIZES: dict[ViTSize, tuple[int, int, int]] = {"vits14": (384, 12, 6), "vitb14": (768, 12, 12)}
"""Width, blocks and heads."""
POSITION_OFFSET = 0.1
"""The published code adds it to the grid's size when it stretches the position embedding, and so must we."""


def public_weights(size: ViTSize) -> PublicWeights:
    """The public checkpoint, without registers."""
    name = f"dinov2_{size}_pretrain.pth"
    source = f"the DINOv2 repository (https://dl.fbaipublicfiles.com/dinov2/dinov2_{size}/{name})"
    return PublicWeights(f"DINOv2 ({size})", name, source, ignored=("mask_token",))


class DINOv2(nn.Module):
    """Image to class token (Oquab et al. 2023). Initialised at random; `from_file` loads the public weights.

    Args:
        width: channels of a token.
        depth: blocks.
        heads: attention heads.
        grid: patches a side that the position embedding was trained for: 37 for images of 518 pixels.
        name: for metric cards.
    """

    def __init__(self, width: int, depth: int, heads: int, grid: int = 37, name: str = "custom") -> None:
        super().__init__()
        self.name, self.grid = name, grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + grid**2, width) * 0.02)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, stride=PATCH)})
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.file: WeightFile | None = None

    @classmethod
    def from_file(cls, size: ViTSize, path: Path | None) -> "DINOv2":
        """The network with public weights.

        Raises:
            MetricUnavailable: the file is absent or not the one.
        """
        network = cls(*SIZES[size], name=f"dinov2_{size}")
        network.file = public_weights(size).load_into(network, path)
        return network

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N D"]:
        """Class tokens after the last norm; `images` are normalised, H and W multiples of 14."""
        patches = self.patch_embed["proj"](images)
        rows, columns = patches.shape[-2:]
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        tokens = tokens + self._positions(rows, columns)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens[:, 0])

    def _positions(self, rows: int, columns: int) -> Float[Tensor, "1 tokens D"]:
        if rows == columns == self.grid:
            return self.pos_embed
        trained = self.pos_embed[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        factors = [(side + POSITION_OFFSET) / self.grid for side in (rows, columns)]
        stretched = F.interpolate(trained, scale_factor=factors, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], stretched.flatten(2).transpose(1, 2)], 1)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "N T D"]) -> Float[Tensor, "N T D"]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))


class _Block(nn.Module):
    """Pre-norm block with a learned scale on each branch."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.ls1, self.ls2 = _Scale(width), _Scale(width)

    def forward(self, x: Float[Tensor, "N T D"]) -> Float[Tensor, "N T D"]:
        x = x + self.ls1.gamma * self.attn(self.norm1(x))
        return x + self.ls2.gamma * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
