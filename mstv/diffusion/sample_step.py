"""Sampling the targets of one step, with guidance."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mstv.diffusion.denoiser import Denoiser, DenoiserState
from mstv.diffusion.sampler import Sampler, ddim
from mstv.diffusion.schedule import NoiseSchedule, add_noise
from mstv.rollout.layout import StepLayout


def prepare_context(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    layout: StepLayout,
    context: Float[Tensor, "B Nc C"],
    context_eps: Float[Tensor, "B Nc C"],
    actions: Shaped[Tensor, "B F *A"] | None,
    dropped: Tensor,
) -> DenoiserState:
    """Prepare a step whose samples in `dropped` (B,) lose their condition: no actions and context at t = 1."""
    context_t = dropped.to(context.dtype)
    noised = add_noise(schedule, context, context_eps, context_t)
    return denoiser.prepare(layout, noised, context_t, actions, dropped)


def sample_step(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    layout: StepLayout,
    context: Float[Tensor, "B Nc C"],
    actions: Shaped[Tensor, "B F *A"] | None,
    noise: Float[Tensor, "B N C"],
    nfe: int,
    guidance: float = 1.0,
    sampler: Sampler = ddim,
) -> Float[Tensor, "B Nt C"]:
    """Latents of the step's targets.

    Args:
        denoiser: the model.
        schedule: its noise schedule.
        layout: the step's tokens.
        context: clean context latents.
        actions: actions of the step's distinct frames, or None.
        noise: eps of all tokens; the context's is drawn once and kept for every evaluation.
        nfe: number of denoiser evaluations (twice that with guidance other than 1).
        guidance: s in v = v_u + s (v - v_u), where v_u has context at t = 1 and no actions.
        sampler: a sampler of `mstv.diffusion.sampler`.
    """
    context_eps, target_eps = noise.split([layout.num_context_tokens, layout.num_target_tokens], 1)

    def state(dropped: bool) -> DenoiserState:
        drop = torch.full((len(context),), dropped, device=context.device)
        return prepare_context(denoiser, schedule, layout, context, context_eps, actions, drop)

    conditional = state(False)
    if guidance == 1:
        return sampler(schedule, nfe, lambda x_t, t: denoiser.denoise(conditional, x_t, t), target_eps)
    unconditional = state(True)

    def guided(x_t: Tensor, t: Tensor) -> Tensor:
        v = denoiser.denoise(conditional, x_t, t)
        v_u = denoiser.denoise(unconditional, x_t, t)
        return v_u + guidance * (v - v_u)

    return sampler(schedule, nfe, guided, target_eps)
