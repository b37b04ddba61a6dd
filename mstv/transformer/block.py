"""One transformer block: pre-norm attention and MLP, plain or modulated by adaLN-Zero."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

RMS_EPS = torch.finfo(torch.float32).eps


def modulate(x: Float[Tensor, "B N D"], shift: Tensor, scale: Tensor) -> Float[Tensor, "B N D"]:
    """adaLN: x (1 + scale) + shift."""
    return torch.addcmul(x + shift, x, scale)


def per_token(modulation: Float[Tensor, "B K M"], token_cell: Int[Tensor, " N"] | None) -> Float[Tensor, "B N M"]:
    """Modulation of each token from that of its cell; without cells there is one condition for all (N = 1)."""
    return modulation if token_cell is None else modulation[:, token_cell]


class Attention(nn.Module):
    """Multi-head self-attention with per-head RMSNorm of queries and keys (one weight for all heads)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"width {dim} is not divisible by {num_heads} heads")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm = nn.RMSNorm(dim // num_heads, eps=RMS_EPS)
        self.k_norm = nn.RMSNorm(dim // num_heads, eps=RMS_EPS)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Every token attends to every token."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        # RMSNorm may answer in fp32 under autocast; attention wants one dtype.
        q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Transformer block; with `conditional`, adaLN-Zero shifts, scales and gates both branches.

    Args:
        dim: width d.
        num_heads: attention heads.
        mlp_ratio: width of the MLP's hidden layer over d.
        conditional: whether the block takes a condition.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float = 4.0, conditional: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.attention = Attention(dim, num_heads)
        hidden = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, dim))
        self.modulation: nn.Sequential | None = None
        if conditional:
            linear = nn.Linear(dim, 6 * dim)
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
            self.modulation = nn.Sequential(nn.SiLU(), linear)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        condition: Float[Tensor, "B K D"] | None = None,
        token_cell: Int[Tensor, " N"] | None = None,
    ) -> Float[Tensor, "B N D"]:
        """Run the block.

        Args:
            x: tokens.
            condition: one vector per cell, or (B, 1, D) for all tokens.
            token_cell: cell of each token; None if there is one condition for all.
        """
        if self.modulation is None or condition is None:
            x = x + self.attention(self.norm(x))
            return x + self.mlp(self.norm(x))
        # The wide product runs once per distinct condition, not per token: the same function for a third less work.
        parts = self.modulation(condition).chunk(6, -1)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (per_token(part, token_cell) for part in parts)
        x = torch.addcmul(x, gate_a, self.attention(modulate(self.norm(x), shift_a, scale_a)))
        return torch.addcmul(x, gate_m, self.mlp(modulate(self.norm(x), shift_m, scale_m)))


class Transformer(nn.Module):
    """A stack of `depth` blocks without a final norm; serves tokenizer encoder, decoder and denoiser."""

    def __init__(self, dim: int, depth: int, num_heads: int, mlp_ratio: float = 4.0, conditional: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, num_heads, mlp_ratio, conditional) for _ in range(depth))

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        condition: Float[Tensor, "B K D"] | None = None,
        token_cell: Int[Tensor, " N"] | None = None,
    ) -> Float[Tensor, "B N D"]:
        """See `Block.forward`."""
        for block in self.blocks:
            x = block(x, condition, token_cell)
        return x
