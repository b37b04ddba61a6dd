"""One transformer block: pre-norm attention and MLP, plain or modulated by adaLN-Zero."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mstv.token_cells import TokenCells, affine, gated

RMS_EPS = torch.finfo(torch.float32).eps


class KeyValue(NamedTuple):
    """Keys (normed) and values of tokens in one block, (B, heads, N, head size)."""

    key: Float[Tensor, "B H N S"]
    value: Float[Tensor, "B H N S"]


class Past(NamedTuple):
    """Keys and values that later tokens of a block attend to, besides their own.

    Attributes:
        known: of the past tokens, and behind them, room for those of the tokens that attend. Without autograd their
            keys and values are written into that room, so that the past is never copied.
        num_known: past tokens.
    """

    known: KeyValue
    num_known: int

    def extended(self, new: KeyValue) -> KeyValue:
        """The past's and then the new ones; with autograd, several runs of new ones may share the past."""
        if torch.is_grad_enabled():
            return KeyValue(*(_joined(a[:, :, : self.num_known], b) for a, b in zip(self.known, new, strict=True)))
        for buffer, values in zip(self.known, new, strict=True):
            buffer[:, :, self.num_known :] = values
        return self.known

    @staticmethod
    def of(known: KeyValue, num_known: int, room: int) -> "Past":
        """The first `num_known` tokens of `known` with room for `room` more."""
        if torch.is_grad_enabled():
            return Past(known, num_known)
        buffers = []
        for values in known:
            batch, heads, _, size = values.shape
            buffer = values.new_empty(batch, heads, num_known + room, size)
            buffer[:, :, :num_known] = values[:, :, :num_known]
            buffers.append(buffer)
        return Past(KeyValue(*buffers), num_known)


def _joined(past: Float[Tensor, "B H P S"], new: Float[Tensor, "R H N S"]) -> Float[Tensor, "R H M S"]:
    """The new ones behind the past, which is the same for each run of B of the R = M B samples."""
    if len(past) == len(new):
        return torch.cat([past, new], 2)
    runs = new.unflatten(0, (-1, len(past)))
    # Expanded only inside the concatenation, which copies it anyway.
    return torch.cat([past.expand(len(runs), *past.shape), runs], 3).flatten(0, 1)


class Attention(nn.Module):
    """Multi-head attention with per-head RMSNorm of queries and keys (one weight for all heads)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"width {dim} is not divisible by {num_heads} heads")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm = nn.RMSNorm(dim // num_heads, eps=RMS_EPS)
        self.k_norm = nn.RMSNorm(dim // num_heads, eps=RMS_EPS)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "B N D"], past: Past | None = None) -> tuple[Float[Tensor, "B N D"], KeyValue]:
        """Attend to all tokens, and to the past.

        Args:
            x: tokens.
            past: keys and values of further tokens, in front.

        Returns:
            what the tokens gather, and their keys and values.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        # RMSNorm may answer in fp32 under autocast; attention wants one dtype.
        q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        own = KeyValue(k, v)
        seen = own if past is None else past.extended(own)
        y = nn.functional.scaled_dot_product_attention(q, seen.key, seen.value)
        return self.proj(y.transpose(1, 2).flatten(2)), own

    def key_value(self, x: Float[Tensor, "B N D"]) -> KeyValue:
        """Only the keys and values of tokens."""
        dim = x.shape[-1]
        bias = self.qkv.bias[dim:]
        kv = nn.functional.linear(x, self.qkv.weight[dim:], bias)
        k, v = kv.unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return KeyValue(self.k_norm(k).to(v.dtype), v)


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

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Run a block that takes no condition."""
        x = x + self.attention(self.norm(x))[0]
        return x + self.mlp(self.norm(x))

    def conditioned(
        self,
        x: Float[Tensor, "B N D"],
        condition: Float[Tensor, "B K D"],
        cells: TokenCells | None = None,
        past: Past | None = None,
    ) -> tuple[Float[Tensor, "B N D"], KeyValue]:
        """Run a conditional block.

        Args:
            x: tokens.
            condition: one vector per cell; without cells (B, 1, D) for all tokens or (B, N, D).
            cells: cell of each token.
            past: keys and values of further tokens.

        Returns:
            the tokens, and their keys and values in this block.
        """
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self._parts(condition)
        y, own = self.attention(affine(shift_a, self.norm(x), scale_a, cells), past)
        x = gated(x, gate_a, y, cells)
        y = self.mlp(affine(shift_m, self.norm(x), scale_m, cells))
        return gated(x, gate_m, y, cells), own

    def key_value(
        self, x: Float[Tensor, "B N D"], condition: Float[Tensor, "B K D"], cells: TokenCells | None = None
    ) -> KeyValue:
        """Only the keys and values of the tokens: all that others need of the last block."""
        shift, scale, *_ = self._parts(condition)
        return self.attention.key_value(affine(shift, self.norm(x), scale, cells))

    def _parts(self, condition: Float[Tensor, "B K D"]) -> tuple[Tensor, ...]:
        """Shift, 1 + scale and gate of the attention, then of the MLP.

        The wide product runs once per distinct condition, not per token: the same function for a third less work.
        """
        assert self.modulation is not None
        parts = self.modulation(condition).unflatten(-1, (2, 3, -1))
        (shift_a, scale_a, gate_a), (shift_m, scale_m, gate_m) = (half.unbind(-2) for half in parts.unbind(-3))
        return shift_a, 1 + scale_a, gate_a, shift_m, 1 + scale_m, gate_m
