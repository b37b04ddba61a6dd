"""The stack of blocks: all tokens at once, or targets beside a context that is computed once."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mstv.token_cells import TokenCells
from mstv.transformer.block import Block, Past


class Transformer(nn.Module):
    """A stack of `depth` blocks without a final norm; serves tokenizer encoder, decoder and denoiser.

    Attributes:
        checkpointing: keep only the blocks' inputs for the backward pass, which computes the rest anew: a third more
            work, for a memory that grows by one activation a block instead of about twenty.
    """

    blocks: Sequence[Block]

    def __init__(self, dim: int, depth: int, num_heads: int, mlp_ratio: float = 4.0, conditional: bool = False) -> None:
        super().__init__()
        self.checkpointing = False
        self.blocks = nn.ModuleList(Block(dim, num_heads, mlp_ratio, conditional) for _ in range(depth))  # type: ignore[assignment]

    def forward(
        self, x: Float[Tensor, "B N D"], condition: Float[Tensor, "B 1 D"] | None = None
    ) -> Float[Tensor, "B N D"]:
        """Run all tokens through all blocks, with one condition for all tokens where the blocks take one."""
        for block in self.blocks:
            x = self._run(block, x) if condition is None else self._run(block.conditioned, x, condition)[0]
        return x

    def remember(
        self, x: Float[Tensor, "B Nc D"], condition: Float[Tensor, "B Kc D"], cells: TokenCells, room: int
    ) -> list[Past]:
        """Keys and values, in every block, of context tokens that see only each other.

        Args:
            x: context tokens.
            condition: one vector per cell.
            cells: cell of each token.
            room: tokens that will attend to them in `recall`.
        """
        pasts = []
        count = x.shape[1]
        for block in self.blocks[:-1]:
            x, own = self._run(block.conditioned, x, condition, cells)
            pasts.append(Past.of(own, count, room))
        pasts.append(Past.of(self.blocks[-1].key_value(x, condition, cells), count, room))
        return pasts

    def recall(
        self, x: Float[Tensor, "B Nt D"], condition: Float[Tensor, "B Kt D"], cells: TokenCells, pasts: list[Past]
    ) -> Float[Tensor, "B Nt D"]:
        """Run target tokens, which see each other and the remembered context."""
        for block, past in zip(self.blocks, pasts, strict=True):
            x, _ = self._run(block.conditioned, x, condition, cells, past)
        return x

    def joint(
        self,
        context: Float[Tensor, "B Nc D"],
        context_condition: Float[Tensor, "B Kc D"],
        context_cells: TokenCells,
        x: Float[Tensor, "B Nt D"],
        condition: Float[Tensor, "B Kt D"],
        cells: TokenCells,
        all_cells: TokenCells,
    ) -> tuple[Float[Tensor, "B Nt D"], list[Past]]:
        """Run context and target tokens, which all see each other.

        Returns:
            the target tokens, and the context's keys and values as they were beside these targets.
        """
        split = context.shape[1]
        tokens, conditions = torch.cat([context, x], 1), torch.cat([context_condition, condition], 1)
        pasts = []
        for block in self.blocks[:-1]:
            tokens, own = self._run(block.conditioned, tokens, conditions, all_cells)
            pasts.append(Past(own, split))
        # Of the last block's context only keys and values are seen by anyone.
        last = self.blocks[-1]
        context, x = tokens.split([split, tokens.shape[1] - split], 1)
        past = Past.of(last.key_value(context, context_condition, context_cells), split, x.shape[1])
        x, _ = self._run(last.conditioned, x, condition, cells, past)
        return x, [*pasts, past]

    def compile_blocks(self) -> None:
        """Compile the blocks: one block for each shape that comes along, which then serves all of them."""
        # A plan has steps of many shapes, each compiled with and without autograd; the default limit is 8.
        torch._dynamo.config.recompile_limit = 1024
        torch._dynamo.config.accumulated_recompile_limit = 4096
        for block in self.blocks:
            for name in ("forward", "conditioned", "key_value"):
                setattr(block, name, torch.compile(getattr(block, name), dynamic=False))

    def _run(self, part: Callable[..., Any], *inputs: Any) -> Any:
        """A part of a block, its activations kept for the backward pass or not."""
        if not (self.checkpointing and torch.is_grad_enabled()):
            return part(*inputs)
        # Nothing in a block is random.
        return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)
