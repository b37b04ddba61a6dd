"""What a plan costs to sample, and how far back it remembers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from mstv.errors import UserError
from mstv.rollout.plan import Plan, Step

AttentionMode = Literal["joint", "isolated"]
"""What context tokens see: everything, so that they are evaluated with the targets, or one another, so that they are
evaluated once a step."""


@dataclass(frozen=True)
class PlanCost:
    """Work of a transformer that samples a plan, without guidance (which doubles it).

    A multiplication and an addition are two FLOPs. The input, condition and output layers, whose share vanishes with
    the depth, are left out, and so are norms and the modulation.

    Args:
        plan: the plan, in the tokens that the blocks see (`PlanFamily.merged_plan`).
        dim: width d.
        depth: number of blocks.
        attention: what context tokens see.
        nfe: denoiser evaluations per step, at least 1.
        mlp_ratio: hidden width of the MLP over d.

    Raises:
        UserError: a size below 1, or an unknown kind of attention.
    """

    plan: Plan
    dim: int
    depth: int
    attention: AttentionMode
    nfe: int
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        for name, value in (("dim", self.dim), ("depth", self.depth), ("nfe", self.nfe)):
            if value < 1:
                raise UserError(f"cost of a plan: {name} must be at least 1, got {value}")
        if self.attention not in get_args(AttentionMode):
            raise UserError(
                f"cost of a plan: attention is {self.attention}, expected {' or '.join(get_args(AttentionMode))}"
            )

    @property
    def num_steps(self) -> int:
        """Steps per chunk."""
        return len(self.plan.steps)

    @property
    def frames(self) -> int:
        """Frames per chunk, A."""
        return self.plan.advance

    @property
    def num_tokens(self) -> tuple[int, int]:
        """Fewest and most tokens of a step, context and targets."""
        return min(self.plan.num_tokens), max(self.plan.num_tokens)

    @cached_property
    def num_target_tokens(self) -> tuple[int, int]:
        """Fewest and most target tokens of a step."""
        targets = [target for _, target in self._tokens]
        return min(targets), max(targets)

    @cached_property
    def token_evaluations(self) -> float:
        """Tokens through the transformer per generated frame, over all evaluations."""
        if self.attention == "joint":
            return self._per_frame(lambda context, target: (context + target) * self.nfe)
        return self._per_frame(lambda context, target: context + target * self.nfe)

    @cached_property
    def attention_flops(self) -> float:
        """FLOPs of queries x keys and of attention x values per generated frame: 4 d per pair and block."""
        if self.attention == "joint":
            pairs = self._per_frame(lambda context, target: (context + target) ** 2 * self.nfe)
        else:
            pairs = self._per_frame(lambda context, target: context**2 + target * (context + target) * self.nfe)
        return 4 * self.dim * self.depth * pairs

    @cached_property
    def linear_flops(self) -> float:
        """FLOPs of the blocks' linear layers per generated frame: 4 d^2 weights of attention, 2 r d^2 of the MLP."""
        weights = 4 * self.dim**2 + 2 * self.mlp_ratio * self.dim**2
        return 2 * weights * self.depth * self.token_evaluations

    @cached_property
    def memory(self) -> tuple[int, int]:
        """Memory horizon in frames, the shortest and the longest of any step.

        It is how far before the step's first target frame its context reaches, 0 where it lies at or ahead of it.
        """
        reaches = [_reach(step) for step in self.plan.steps]
        return min(reaches), max(reaches)

    @cached_property
    def _tokens(self) -> tuple[tuple[int, int], ...]:
        """Context and target tokens of each step."""
        base = self.plan.base_num_tokens
        targets = [sum(base >> 2 * cell.level for cell in step.targets) for step in self.plan.steps]
        return tuple((total - target, target) for total, target in zip(self.plan.num_tokens, targets, strict=True))

    def _per_frame(self, work: Callable[[int, int], int]) -> float:
        """`work(context tokens, target tokens)` over the steps of a chunk, per frame that it generates."""
        return sum(work(context, target) for context, target in self._tokens) / self.plan.advance


def _reach(step: Step) -> int:
    first = min(cell.frame for cell in step.targets)
    return max([0, *(first - cell.frame for cell in step.context)])
