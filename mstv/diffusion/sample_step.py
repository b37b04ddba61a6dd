"""Sampling the targets of one step: sampler, evaluations, guidance, and what is done to the context."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from mstv.diffusion.denoiser import Denoiser, DenoiserState
from mstv.diffusion.sampler import SAMPLERS
from mstv.diffusion.schedule import NoiseSchedule, add_noise
from mstv.errors import UserError
from mstv.rollout.cost import AttentionMode
from mstv.rollout.layout import StepLayout
from mstv.rollout.plan import Plan


@dataclass(frozen=True)
class Sampling:
    """How the targets of a step are sampled; by default as published, fast as `Sampling(12, "dpm_solver")`.

    Args:
        nfe: denoiser evaluations per step, at least 2 (twice that with guidance other than 1): one number, or one for
            each target level, finest first; a step whose targets stand at several levels takes the largest of theirs.
        sampler: name in `mstv.diffusion.sampler.SAMPLERS`.
        guidance: s >= 0 in v = v_u + s (v - v_u), where v_u has context at t = 1 and no actions; 1 is none, 0 is v_u.
        refresh: evaluations that share the context's keys and values, for weights of joint attention; 1 is exact.
        context_noise: time in [0, 1) to which the context is noised, and which its time embedding tells; 0 is clean.
            A model trained with context noise up to it forgives errors of the context that it generated itself.

    Raises:
        UserError: a value out of range, naming it.
    """

    nfe: int | Sequence[int] = 50
    sampler: str = "ddim"
    guidance: float = 1.0
    refresh: int = 1
    context_noise: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.nfe, int):
            object.__setattr__(self, "nfe", tuple(self.nfe))
        if not self._counts or min(self._counts) < 2:
            raise UserError(f"nfe must be at least 2, got {self.nfe}")
        if self.sampler not in SAMPLERS:
            raise UserError(f"sampler is {self.sampler}, expected one of {', '.join(SAMPLERS)}")
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise UserError(f"guidance must be finite and not negative, got {self.guidance}")
        if self.refresh < 1:
            raise UserError(f"refresh must be at least 1, got {self.refresh}")
        if not 0 <= self.context_noise < 1:
            raise UserError(f"context_noise must lie in [0, 1), got {self.context_noise}")

    @property
    def _counts(self) -> tuple[int, ...]:
        return (self.nfe,) if isinstance(self.nfe, int) else tuple(self.nfe)

    def evaluations(self, target_levels: Sequence[int]) -> int:
        """Denoiser evaluations of a step with targets at these levels, guidance not counted.

        Raises:
            UserError: a level that `nfe` does not cover.
        """
        if isinstance(self.nfe, int):
            return self.nfe
        if max(target_levels) >= len(self.nfe):
            raise UserError(f"nfe {self.nfe} has no number for level {max(target_levels)}, which the plan denoises")
        return max(self.nfe[level] for level in target_levels)

    def token_evaluations(self, plan: Plan, attention: AttentionMode) -> float:
        """Tokens through the transformer per generated frame, over all evaluations.

        Args:
            plan: in the tokens that the blocks see (`PlanFamily.merged_plan`).
            attention: of the denoiser.
        """
        total = 0
        for step, num_tokens in zip(plan.steps, plan.num_tokens, strict=True):
            targets = sum(plan.base_num_tokens >> 2 * cell.level for cell in step.targets)
            nfe = self.evaluations([cell.level for cell in step.targets])
            of_context = 1 if attention == "isolated" else math.ceil(nfe / self.refresh)
            total += (num_tokens - targets) * of_context + targets * nfe
        return total / plan.advance * (1 if self.guidance == 1 else 2)


def prepare_context(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    layout: StepLayout,
    context: Float[Tensor, "B Nc C"],
    context_eps: Float[Tensor, "B Nc C"],
    actions: Shaped[Tensor, "B F *A"] | None,
    dropped: Bool[Tensor, " B"],
    context_t: Float[Tensor, " B"] | None = None,
    refresh: int = 1,
) -> DenoiserState:
    """Prepare a step; samples in `dropped` lose their condition: no actions and context at t = 1.

    Context of the others stands at `context_t`, by default 0, where it carries sigma(0) = 5.5e-4 of its own eps.
    """
    t = dropped.to(context.dtype) if context_t is None else torch.where(dropped, 1, context_t)
    return denoiser.prepare(layout, add_noise(schedule, context, context_eps, t), t, actions, dropped, refresh)


def sample_step(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    layout: StepLayout,
    context: Float[Tensor, "B Nc C"],
    actions: Shaped[Tensor, "B F *A"] | None,
    noise: Float[Tensor, "B N C"],
    sampling: Sampling,
) -> Float[Tensor, "B Nt C"]:
    """Latents of the step's targets.

    Args:
        denoiser: the model.
        schedule: its noise schedule.
        layout: the step's tokens.
        context: clean context latents.
        actions: actions of the step's distinct frames, or None.
        noise: eps of all tokens; the context's is drawn once and kept for every evaluation.
        sampling: how.
    """
    context_eps, target_eps = noise.split([layout.num_context_tokens, layout.num_target_tokens], 1)

    def state(dropped: bool) -> DenoiserState:
        drop = torch.full((len(context),), dropped, device=context.device)
        t = torch.full((len(context),), sampling.context_noise, device=context.device)
        return prepare_context(denoiser, schedule, layout, context, context_eps, actions, drop, t, sampling.refresh)

    sampler, nfe = SAMPLERS[sampling.sampler], sampling.evaluations(layout.target_levels)
    conditional = state(False)
    if sampling.guidance == 1:
        return sampler(schedule, nfe, lambda x_t, t: denoiser.denoise(conditional, x_t, t), target_eps)
    unconditional = state(True)

    def guided(x_t: Tensor, t: Tensor) -> Tensor:
        v = denoiser.denoise(conditional, x_t, t)
        v_u = denoiser.denoise(unconditional, x_t, t)
        return v_u + sampling.guidance * (v - v_u)

    return sampler(schedule, nfe, guided, target_eps)
