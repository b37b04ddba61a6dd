"""The training loss: mean squared error on v over the target tokens."""

from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from mstv.diffusion.denoiser import Denoiser
from mstv.diffusion.sample_step import prepare_context
from mstv.diffusion.schedule import NoiseSchedule, add_noise, v_target
from mstv.rollout.layout import StepLayout


def v_loss(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    layout: StepLayout,
    x: Float[Tensor, "B N C"],
    eps: Float[Tensor, "B N C"],
    t: Float[Tensor, " B"],
    actions: Shaped[Tensor, "B F *A"] | None = None,
    dropped: Bool[Tensor, " B"] | None = None,
    context_t: Float[Tensor, " B"] | None = None,
) -> Float[Tensor, " B"]:
    """Loss of each sample.

    Args:
        denoiser: the model.
        schedule: its noise schedule.
        layout: the step's tokens.
        x: clean latents, context first, targets last.
        eps: noise of all tokens; the context enters with sigma(0) = 5.5e-4 of its own.
        t: time of each sample's targets, in [0, 1].
        actions: actions of the step's distinct frames, or None.
        dropped: samples that lose their condition: no actions, context at t = 1. None for none.
        context_t: time of each other sample's context, in [0, 1). None for 0, clean.
    """
    split = layout.num_context_tokens
    if dropped is None:
        dropped = x.new_zeros(len(x)).bool()
    state = prepare_context(denoiser, schedule, layout, x[:, :split], eps[:, :split], actions, dropped, context_t)
    x, eps = x[:, split:], eps[:, split:]
    v = denoiser.denoise(state, add_noise(schedule, x, eps, t), t)
    return (v.float() - v_target(schedule, x, eps, t)).square().mean((1, 2))
