"""The denoiser of the published FramePack baseline: it sees level 0 alone and merges the past itself."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mstv.diffusion.denoiser import Denoiser
from mstv.errors import UserError
from mstv.levels import Levels
from mstv.rollout.cost import AttentionMode
from mstv.rollout.framepack import FramePackLatents
from mstv.rollout.layout import StepLayout
from mstv.transformer.size import TransformerSize


class FramePackDenoiser(Denoiser):
    """Predicts v for target frames at level 0 from past frames at level 0 (arXiv 2504.12626).

    The further back a context frame lies, the larger the patches of its latents that become one token: 2^l x 2^l by a
    linear layer of its own for each level l. A merged token stands where a token of level l would, on that level's
    grid, and has that level's embedding, so that the transformer sees what it sees of a step of several levels.

    Takes the steps of `FramePackLatents` with the same `num_context_frames`.

    Args:
        latent_channels: C.
        levels: the grids on which latents and merged tokens stand.
        num_context_frames: frames merged to each level, level 0 (nearest to the targets) first.
        size: size of the transformer.
        action_kind: `none`, `discrete` or `vector`.
        num_actions: ids or columns of the actions.
        attention: what context tokens see; `joint` is the published one.

    Raises:
        UserError: not as many levels as `num_context_frames`.
    """

    def __init__(
        self,
        latent_channels: int,
        levels: Levels,
        num_context_frames: Sequence[int],
        size: TransformerSize,
        action_kind: str = "none",
        num_actions: int = 0,
        attention: AttentionMode = "isolated",
    ) -> None:
        if len(num_context_frames) != levels.num_levels:
            raise UserError(
                f"plan: num_context_frames has {len(num_context_frames)} levels, levels.num_levels is "
                f"{levels.num_levels}: give as many of both"
            )
        super().__init__(latent_channels, levels.num_levels, size, action_kind, num_actions, attention)
        self.levels = levels
        self.num_context_frames = tuple(num_context_frames)
        # `from_latents` serves level 0, whose patches are single latents: nearest context and targets.
        self.from_patches = nn.ModuleDict(
            {str(level): nn.Linear(latent_channels * 4**level, size.dim) for level in range(1, levels.num_levels)}
        )

    def token_layout(self, layout: StepLayout) -> StepLayout:
        """The same frames with their context merged.

        Raises:
            ValueError: `layout` is not of a step of `FramePackLatents` with these `num_context_frames`.
        """
        per_frame = self.levels.num_tokens(0)
        if layout.num_tokens != len(layout.cell_level) * per_frame:
            raise ValueError("the FramePack denoiser takes steps at level 0 alone")
        if layout.num_context_cells != sum(self.num_context_frames):
            raise ValueError(
                f"the FramePack denoiser takes {sum(self.num_context_frames)} context frames of {per_frame} tokens, "
                f"got {layout.num_context_cells}"
            )
        num_targets = len(layout.cell_level) - layout.num_context_cells
        return _merged_layout(self.num_context_frames, num_targets, self.levels, layout.frames.device)

    def embed_context(self, context: Float[Tensor, "B Nc C"]) -> Float[Tensor, "B Nm D"]:
        """Merge and embed context latents, frames oldest first, each row-major.

        Returns:
            the Nm merged tokens by level, then frame, row and column, as `StepLayout` orders them; no position yet.
        """
        frames = context.unflatten(1, (-1, *self.levels.grid(0)))
        tokens, end = [], frames.shape[1]
        for level, count in enumerate(self.num_context_frames):
            layer = self.from_patches[str(level)] if level else self.from_latents
            tokens.append(layer(patches(frames[:, end - count : end], 2**level)))
            end -= count
        return torch.cat(tokens, 1)


def patches(frames: Float[Tensor, "B F h w C"], side: int) -> Float[Tensor, "B N P"]:
    """Patches of `side` x `side` latents by frame, row and column; features by channel, patch row, patch column."""
    split = frames.unflatten(3, (-1, side)).unflatten(2, (-1, side))
    return split.permute(0, 1, 2, 4, 6, 3, 5).flatten(4).flatten(1, 3)


@lru_cache(maxsize=16)
def _merged_layout(
    num_context_frames: tuple[int, ...], num_target_frames: int, levels: Levels, device: torch.device
) -> StepLayout:
    """Layout of the one step of the merged plan; kept, because every step of a rollout asks for it."""
    (step,) = FramePackLatents(num_context_frames, num_target_frames).merged_plan(levels.num_tokens(0)).steps
    return StepLayout.of(step, levels, device)
