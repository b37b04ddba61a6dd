"""Rollout: repeating a plan with a given denoiser to extend episodes by any length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mstv.errors import UserError
from mstv.keyed_random import keyed_generator
from mstv.levels import Levels
from mstv.rollout.layout import StepLayout, gather_tokens, scatter_tokens
from mstv.rollout.plan import Chunks, Plan

SampleStep = Callable[[StepLayout, Tensor, Tensor | None, Tensor], Tensor]
"""(layout, context (B, Nc, C), actions of the step's frames or None, noise (B, N, C)) -> targets (B, Nt, C)."""


@dataclass
class RolloutState:
    """Where a rollout stands; saved and given back, it goes on bit-identically.

    Attributes:
        latents: latents of each level, fp32 (B, T, rows, columns, C), context first; unseen frames are zero.
        num_done: steps done, over all chunks.
    """

    latents: list[Tensor]
    num_done: int = 0


class Rollout:
    """The rollout of a batch of episodes by one plan.

    Args:
        plan: the plan.
        levels: the token pyramid.
        start: frames of ground-truth context.
        end: one past the last frame wanted.
        actions: (B, T) ids or (B, T, A) columns, actions[t] produced frame t; None for no actions. Frames that the
            last chunk generates beyond T get the null action.
        keys: episode keys; the noise of an episode depends on (seed, key, chunk, step) alone.
        seed: seed of the noise.

    Raises:
        UserError: a context shorter than the plan's.
    """

    def __init__(
        self,
        plan: Plan,
        levels: Levels,
        start: int,
        end: int,
        keys: Sequence[str],
        actions: Shaped[Tensor, "B T *A"] | None = None,
        seed: int = 0,
    ) -> None:
        self.plan = plan
        self.levels = levels
        self.start = start
        self.keys = list(keys)
        self.seed = seed
        self.chunks: Chunks = plan.chunks(start, end=end)
        self.actions = self._extend(actions)

    @property
    def num_steps(self) -> int:
        """Steps over all chunks."""
        return len(self.chunks.starts) * len(self.plan.steps)

    def begin(self, context: Sequence[Float[Tensor, "B T _h _w C"]]) -> RolloutState:
        """State before the first step.

        Args:
            context: latents of each level; the first `start` frames are taken.

        Raises:
            UserError: fewer frames than `start`.
        """
        if context[0].shape[1] < self.start:
            raise UserError(
                f"context: {self.start} frames asked for, the episode {self.keys[0]} has {context[0].shape[1]}: "
                "give a shorter context"
            )
        num_frames = max(self.chunks.limit, self.start)
        latents = []
        for level in context:
            extended = level.new_zeros(level.shape[0], num_frames, *level.shape[2:], dtype=torch.float32)
            extended[:, : self.start] = level[:, : self.start]
            latents.append(extended)
        return RolloutState(latents)

    def run(self, state: RolloutState, sample: SampleStep) -> Iterator[RolloutState]:
        """Do the remaining steps, yielding `state` (the same object, changed in place) after each."""
        device = state.latents[0].device
        while state.num_done < self.num_steps:
            chunk, index = divmod(state.num_done, len(self.plan.steps))
            step = self.plan.steps[index]
            first = self.chunks.starts[chunk]
            layout = StepLayout.of(step, self.levels, device)
            context = gather_tokens(state.latents, step.context, first)
            actions = None
            if self.actions is not None:
                actions = self.actions[:, [first + frame for frame in step.frames]].to(device)
            channels = context.shape[-1]
            noise = torch.stack(
                [
                    torch.randn(layout.num_tokens, channels, generator=keyed_generator(self.seed, key, chunk, index))
                    for key in self.keys
                ]
            ).to(device)
            targets = sample(layout, context, actions, noise)
            scatter_tokens(state.latents, step.targets, targets, first)
            state.num_done += 1
            yield state

    def _extend(self, actions: Tensor | None) -> Tensor | None:
        if actions is None or actions.shape[1] >= self.chunks.limit:
            return actions
        # Null is -1 for ids and zeros for columns.
        null = 0 if actions.is_floating_point() else -1
        missing = actions.new_full((actions.shape[0], self.chunks.limit - actions.shape[1], *actions.shape[2:]), null)
        return torch.cat([actions, missing], 1)
