"""From a step's cells to its tokens: where each token stands and which condition it has."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mstv.levels import Levels
from mstv.rollout.plan import Cell, Step
from mstv.token_cells import TokenCells


@dataclass(frozen=True, eq=False)
class StepLayout:
    """The tokens of one step, equal for every sample of a batch: context first, targets last.

    N tokens stand in K cells (all tokens of a frame at a level) over F distinct frames. Frames are relative to the
    smallest frame that the step sees.

    Attributes:
        frames: (F,) the distinct frames, ascending, the first is 0.
        cell_level: (K,) level of each cell.
        cell_frame: (K,) index into `frames` of each cell.
        token_cell: (N,) cell of each token.
        token_row: (N,) row on the grid of the token's own level.
        token_column: (N,) column, likewise.
        target_levels: distinct levels of the targets, ascending.
        num_context_cells: cells that are context; they come first.
        num_context_tokens: tokens that are context; they come first.
    """

    frames: Int[Tensor, " F"]
    cell_level: Int[Tensor, " K"]
    cell_frame: Int[Tensor, " K"]
    token_cell: Int[Tensor, " N"]
    token_row: Int[Tensor, " N"]
    token_column: Int[Tensor, " N"]
    target_levels: tuple[int, ...]
    num_context_cells: int
    num_context_tokens: int

    @property
    def num_tokens(self) -> int:
        """N."""
        return len(self.token_cell)

    @property
    def num_target_tokens(self) -> int:
        """Tokens that the step denoises."""
        return self.num_tokens - self.num_context_tokens

    @cached_property
    def target_level_slices(self) -> tuple[slice, ...]:
        """Where the tokens of each of `target_levels` stand among the target tokens: cells are sorted by level."""
        levels = self.token_level[self.num_context_tokens :].tolist()
        first = [bisect_left(levels, level) for level in self.target_levels]
        return tuple(slice(*ends) for ends in pairwise([*first, len(levels)]))

    @cached_property
    def token_level(self) -> Int[Tensor, " N"]:
        """Level of each token."""
        return self.cell_level[self.token_cell]

    @cached_property
    def context_cells(self) -> TokenCells:
        """Cells of the context tokens."""
        return self._cells(0, self.num_context_cells)

    @cached_property
    def target_cells(self) -> TokenCells:
        """Cells of the target tokens, counted from the first target cell."""
        return self._cells(self.num_context_cells, len(self.cell_level))

    @cached_property
    def all_cells(self) -> TokenCells:
        """Cells of all tokens."""
        return self._cells(0, len(self.cell_level))

    def _cells(self, start: int, stop: int) -> TokenCells:
        """Tokens of the cells [start, stop)."""
        chosen = self.cell_level[start:stop]
        of_token = self.token_cell[(self.token_cell >= start) & (self.token_cell < stop)] - start
        one_level = len(chosen) > 0 and bool((chosen == chosen[0]).all())
        return TokenCells(of_token, len(of_token) // len(chosen) if one_level else None)

    def to(self, device: torch.device) -> "StepLayout":
        """The same layout with its tensors on `device`."""
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    @staticmethod
    @lru_cache(maxsize=1024)
    def of(step: Step, levels: Levels, device: torch.device | None = None) -> "StepLayout":
        """The layout of `step` on grids of `levels`; the same object for the same arguments."""
        if device is not None and device.type != "cpu":
            return StepLayout.of(step, levels).to(device)
        sizes = torch.tensor([levels.num_tokens(cell.level) for cell in step.cells])
        rows, columns = [], []
        for cell in step.cells:
            height, width = levels.grid(cell.level)
            rows.append(torch.arange(height).repeat_interleave(width))
            columns.append(torch.arange(width).repeat(height))
        frame_index = {frame: index for index, frame in enumerate(step.frames)}
        num_context_cells = len(step.context)
        return StepLayout(
            frames=torch.tensor(step.frames) - step.frames[0],
            cell_level=torch.tensor([cell.level for cell in step.cells]),
            cell_frame=torch.tensor([frame_index[cell.frame] for cell in step.cells]),
            token_cell=torch.arange(len(sizes)).repeat_interleave(sizes),
            token_row=torch.cat(rows),
            token_column=torch.cat(columns),
            target_levels=tuple(sorted({cell.level for cell in step.targets})),
            num_context_cells=num_context_cells,
            num_context_tokens=int(sizes[:num_context_cells].sum()),
        )


def frames_by_level(cells: Sequence[Cell]) -> list[tuple[int, list[int]]]:
    """Sorted cells as (level, frames) runs, in the order of the cells."""
    runs: list[tuple[int, list[int]]] = []
    for cell in cells:
        if not runs or runs[-1][0] != cell.level:
            runs.append((cell.level, []))
        runs[-1][1].append(cell.frame)
    return runs


def gather_tokens(
    latents: Sequence[Float[Tensor, "B T _h _w C"]], cells: Sequence[Cell], start: int = 0
) -> Float[Tensor, "B N C"]:
    """Tokens of `cells` in their order, each frame row-major.

    Args:
        latents: latents of each level, (B, T, rows, columns, C).
        cells: sorted cells, frames relative to `start`.
        start: frame of `latents` that the cells' frame 0 is.
    """
    first = latents[0]
    if not cells:
        return first.new_zeros(first.shape[0], 0, first.shape[-1])
    parts = [
        latents[level][:, [start + frame for frame in frames]].flatten(1, 3) for level, frames in frames_by_level(cells)
    ]
    return torch.cat(parts, 1)


def scatter_tokens(
    latents: Sequence[Float[Tensor, "B T _h _w C"]],
    cells: Sequence[Cell],
    tokens: Float[Tensor, "B N C"],
    start: int = 0,
) -> None:
    """Write `tokens` into `latents` in place; the inverse of `gather_tokens`."""
    position = 0
    for level, frames in frames_by_level(cells):
        level_latents = latents[level]
        batch, _, height, width, channels = level_latents.shape
        count = len(frames) * height * width
        block = tokens[:, position : position + count].reshape(batch, len(frames), height, width, channels)
        level_latents[:, [start + frame for frame in frames]] = block.to(level_latents.dtype)
        position += count
