"""FLOPs of training the denoiser on one step of a plan."""

from collections.abc import Sequence
from dataclasses import dataclass

from mstv.rollout.cost import AttentionMode
from mstv.rollout.framepack import FramePackLatents
from mstv.rollout.plan import Cell, PlanFamily
from mstv.transformer.flops import joint_flops, linear_flops, recall_flops, remember_flops
from mstv.transformer.size import TransformerSize

TIME_FREQUENCIES = 256
"""Numbers that the time MLP takes."""


@dataclass(frozen=True)
class TrainingStep:
    """One plan step of one sample as the transformer trains on it.

    Attributes:
        context_tokens: after merging by the input layer, where it merges.
        context_conditions: distinct conditions of them: cells, or tokens where every token has its own.
        context_weights: of the input layers, summed over the context tokens, over the width: C for each token, of a
            token merged from 2^l x 2^l latents 4^l C.
        target_tokens: of one noise draw.
        target_conditions: distinct conditions of them.
    """

    context_tokens: int
    context_conditions: int
    context_weights: int
    target_tokens: int
    target_conditions: int

    @staticmethod
    def of_plan(family: PlanFamily, base_num_tokens: int, latent_channels: int) -> tuple["TrainingStep", ...]:
        """Every step of a plan, with one condition per (frame, level).

        Args:
            family: the plan.
            base_num_tokens: N0, tokens of a frame at level 0.
            latent_channels: C.
        """
        merges = isinstance(family, FramePackLatents)

        def tokens(cells: Sequence[Cell]) -> int:
            return sum(base_num_tokens >> 2 * cell.level for cell in cells)

        def latents(cells: Sequence[Cell]) -> int:
            return len(cells) * base_num_tokens if merges else tokens(cells)

        return tuple(
            TrainingStep(
                tokens(step.context),
                len(step.context),
                latents(step.context) * latent_channels,
                tokens(step.targets),
                len(step.targets),
            )
            for step in family.merged_plan(base_num_tokens).steps
        )

    def num_tokens(self, noise_draws: int = 1) -> int:
        """Tokens through the transformer: the context once, the targets for every noise draw."""
        return self.context_tokens + noise_draws * self.target_tokens

    def flops(self, size: TransformerSize, latent_channels: int, attention: AttentionMode, noise_draws: int = 1) -> int:
        """Matrix-product FLOPs of forward and backward; formula in `mstv.transformer.flops`.

        Added to the transformer's: input and output layers of C x d weights per latent, the output's modulation of
        2 d^2 weights per target condition, and the time MLP of (256 + d) d weights for the context's time and for that
        of each noise draw. Actions are left out.

        Args:
            size: of the transformer.
            latent_channels: C.
            attention: what context tokens see.
            noise_draws: target sets that share the context, M; joint attention shares nothing but evaluates the
                context beside each.
        """
        context, targets = (self.context_tokens, self.context_conditions), (self.target_tokens, self.target_conditions)
        if attention == "isolated":
            shared = remember_flops(size, *context)
            each = recall_flops(size, self.target_tokens, self.context_tokens, self.target_conditions)
        else:
            shared, each = 0, joint_flops(size, *context, *targets)
        time = linear_flops((TIME_FREQUENCIES + size.dim) * size.dim, 1)
        shared += linear_flops(self.context_weights * size.dim, 1) + time
        each += linear_flops(2 * latent_channels * size.dim, self.target_tokens) + time
        each += linear_flops(2 * size.dim**2, self.target_conditions)
        return shared + noise_draws * each
