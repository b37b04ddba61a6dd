"""Rollout: repeating a plan with a given denoiser to extend episodes by any length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mstv.errors import UserError
from mstv.keyed_random import keyed_generator
from mstv.levels import Levels
from mstv.rollout.layout import StepLayout, gather_tokens, scatter_tokens
from mstv.rollout.plan import Chunks, Plan, Step

SampleStep = Callable[[StepLayout, Tensor, Tensor | None, Tensor], Tensor]
"""(layout, context (B, Nc, C), actions of the step's frames or None, noise (B, N, C)) -> targets (B, Nt, C)."""


@dataclass
class RolloutState:
    """Where a rollout stands; saved and given back, it goes on bit-identically.

    Its size does not depend on the length of the rollout: of each level it holds the frames of the running chunk, which
    are all that the chunk's steps read or write.

    Attributes:
        latents: latents of each level of the chunk's frames, fp32 (B, chunk frames, rows, columns, C); cells that no
            step has denoised yet are zero.
        num_done: steps done, over all chunks.
    """

    latents: list[Tensor]
    num_done: int = 0


class Finished(NamedTuple):
    """Frames that a step completed down to level 0; often none.

    Attributes:
        start: frame of the episode that the first one is.
        latents: their level-0 latents, fp32 (B, T, rows, columns, C), T >= 0.
    """

    start: int
    latents: Float[Tensor, "B T h w C"]


class Rollout:
    """The rollout of a batch of episodes by one plan, for any length in constant memory.

    Args:
        plan: the plan.
        levels: the token pyramid.
        start: frames of ground-truth context.
        end: one past the last frame wanted.
        actions: (B, T) ids or (B, T, A) columns, actions[t] produced frame t; None for no actions. Frames beyond T get
            the null action.
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
        self.end = end
        self.keys = list(keys)
        self.seed = seed
        self.chunks: Chunks = plan.chunks(start, end=end)
        self.actions = actions

    @property
    def num_steps(self) -> int:
        """Steps over all chunks; of the last chunk only those up to the one that completes the last frame wanted."""
        whole, steps = len(self.chunks.starts) - 1, len(self.plan.steps)
        if whole < 0:
            return 0
        wanted = self.end - self.start - whole * self.plan.advance
        return whole * steps + next(index for index, done in enumerate(self.plan.finished, 1) if done >= wanted)

    def begin(self, context: Sequence[Float[Tensor, "B T _h _w C"]]) -> RolloutState:
        """State before the first step.

        Args:
            context: latents of each level of frames that end where the rollout starts; the plan reads the last
                `Plan.first_target_frame` of them.

        Raises:
            UserError: fewer frames than the plan reads.
        """
        needed = self.plan.first_target_frame
        if context[0].shape[1] < needed:
            raise UserError(
                f"context: the plan reads {needed} frames, the episode {self.keys[0]} has {context[0].shape[1]}: "
                "choose longer episodes or a plan with smaller windows"
            )
        latents = []
        for level in context:
            window = level.new_zeros(level.shape[0], self.plan.num_frames, *level.shape[2:], dtype=torch.float32)
            window[:, :needed] = level[:, level.shape[1] - needed :]
            latents.append(window)
        return RolloutState(latents)

    def run(self, state: RolloutState, sample: SampleStep) -> Iterator[Finished]:
        """Do the remaining steps, changing `state` in place; yields what each completed."""
        plan, device = self.plan, state.latents[0].device
        num_steps = self.num_steps
        while state.num_done < num_steps:
            chunk, index = divmod(state.num_done, len(plan.steps))
            if chunk and not index:
                self._next_chunk(state)
            step, first = plan.steps[index], self.chunks.starts[chunk]
            layout = StepLayout.of(step, self.levels, device)
            context = gather_tokens(state.latents, step.context)
            noise = torch.stack(
                [
                    torch.randn(
                        layout.num_tokens, context.shape[-1], generator=keyed_generator(self.seed, key, chunk, index)
                    )
                    for key in self.keys
                ]
            )
            targets = sample(layout, context, self._actions(first, step, device), noise.to(device))
            scatter_tokens(state.latents, step.targets, targets)
            state.num_done += 1
            known = plan.first_target_frame + (plan.finished[index - 1] if index else 0)
            frames = slice(known, min(plan.first_target_frame + plan.finished[index], self.end - first))
            yield Finished(first + known, state.latents[0][:, frames].clone())

    def finished_levels(self, state: RolloutState, finished: Finished) -> list[Tensor | None]:
        """Latents (B, T, rows, columns, C) of each level of the frames that the last step of `run` completed.

        None for levels that the plan does not denoise of these frames; the coarse ones of a frame come before the fine.
        """
        chunk, index = divmod(state.num_done - 1, len(self.plan.steps))
        first = finished.start - self.chunks.starts[chunk]
        frames = range(first, first + finished.latents.shape[1])
        known = {cell for step in self.plan.steps[: index + 1] for cell in step.targets}
        return [
            level_latents[:, first : frames.stop].clone() if all((level, frame) in known for frame in frames) else None
            for level, level_latents in enumerate(state.latents)
        ]

    def _next_chunk(self, state: RolloutState) -> None:
        """Move the window on by what a chunk advances; its new frames are not denoised yet."""
        advance = self.plan.advance
        for level in state.latents:
            level[:, :-advance] = level[:, advance:].clone()
            level[:, -advance:] = 0

    def _actions(self, first: int, step: Step, device: torch.device) -> Tensor | None:
        """Actions of the step's frames; null, which is -1 for ids and zeros for columns, beyond the last one."""
        if self.actions is None:
            return None
        frames = torch.tensor([first + frame for frame in step.frames])
        known = frames < self.actions.shape[1]
        actions = self.actions.new_full(
            (len(self.actions), len(frames), *self.actions.shape[2:]), 0 if self.actions.is_floating_point() else -1
        )
        actions[:, known] = self.actions[:, frames[known]]
        return actions.to(device)
