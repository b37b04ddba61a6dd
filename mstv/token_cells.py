"""Which condition each token of a run of tokens has."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class TokenCells(NamedTuple):
    """N tokens in K cells; all tokens of a cell have the same condition, computed once for the cell.

    Attributes:
        of_token: (N,) cell of each token, ascending.
        per_cell: tokens of every cell where all have as many, else None.
    """

    of_token: Int[Tensor, " N"]
    per_cell: int | None

    def affine(
        self, shift: Float[Tensor, "B K D"], x: Float[Tensor, "B N D"], scale: Float[Tensor, "B K D"]
    ) -> Float[Tensor, "B N D"]:
        """shift + x scale, with shift and scale of each token's cell."""
        if self.per_cell is None:
            return torch.addcmul(shift[:, self.of_token], x, scale[:, self.of_token])
        # A broadcast over (cell, token) reads no gathered copy of the size of x.
        split = x.unflatten(1, (-1, self.per_cell))
        return torch.addcmul(shift[:, :, None], split, scale[:, :, None]).flatten(1, 2)

    def gated(
        self, x: Float[Tensor, "B N D"], gate: Float[Tensor, "B K D"], y: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B N D"]:
        """x + gate y, with the gate of each token's cell."""
        if self.per_cell is None:
            return torch.addcmul(x, gate[:, self.of_token], y)
        split = (1, (-1, self.per_cell))
        return torch.addcmul(x.unflatten(*split), gate[:, :, None], y.unflatten(*split)).flatten(1, 2)


def affine(shift: Tensor, x: Tensor, scale: Tensor, cells: TokenCells | None) -> Tensor:
    """shift + x scale; without cells, shift and scale broadcast against x as they are."""
    return torch.addcmul(shift, x, scale) if cells is None else cells.affine(shift, x, scale)


def gated(x: Tensor, gate: Tensor, y: Tensor, cells: TokenCells | None) -> Tensor:
    """x + gate y; likewise."""
    return torch.addcmul(x, gate, y) if cells is None else cells.gated(x, gate, y)
