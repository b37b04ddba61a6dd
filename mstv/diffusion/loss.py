"""What training minimises: the squared error on v of the target tokens."""

from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from mstv.diffusion.denoiser import Denoiser
from mstv.diffusion.sample_step import prepare_context
from mstv.diffusion.schedule import NoiseSchedule, add_noise, v_target
from mstv.rollout.layout import StepLayout


def v_errors(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    layout: StepLayout,
    x: Float[Tensor, "B N C"],
    context_eps: Float[Tensor, "B Nc C"],
    eps: Float[Tensor, "S Nt C"],
    t: Float[Tensor, " S"],
    actions: Shaped[Tensor, "B F *A"] | None = None,
    dropped: Bool[Tensor, " B"] | None = None,
    context_t: Float[Tensor, " B"] | None = None,
) -> Float[Tensor, "S Nt"]:
    """Squared error of each target token, mean over its channels.

    Several draws of time and noise may share one context: S = M B, sample m B + b being draw m for context b. That
    needs isolated attention, whose context is evaluated once for all of them.

    Args:
        denoiser: the model.
        schedule: its noise schedule.
        layout: the step's tokens.
        x: clean latents, context first, targets last.
        context_eps: noise of the context, which enters with sigma(0) = 5.5e-4 of it.
        eps: noise of the targets.
        t: time of each sample's targets, in [0, 1].
        actions: actions of the step's distinct frames, or None.
        dropped: contexts that lose their condition: no actions, context at t = 1. None for none.
        context_t: time of each other context, in [0, 1). None for 0, clean.
    """
    context, x = x.split([layout.num_context_tokens, layout.num_target_tokens], 1)
    if dropped is None:
        dropped = x.new_zeros(len(x)).bool()
    state = prepare_context(denoiser, schedule, layout, context, context_eps, actions, dropped, context_t)
    x = x.repeat(len(eps) // len(x), 1, 1)
    v = denoiser.denoise(state, add_noise(schedule, x, eps, t), t)
    return (v.float() - v_target(schedule, x, eps, t)).square().mean(2)
