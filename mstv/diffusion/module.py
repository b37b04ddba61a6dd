"""Diffusion training on the tokens of plan steps, and the rollout with the trained model."""

from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mstv import checkpoint
from mstv.data.latents import StepBatch
from mstv.diffusion.denoiser import Denoiser
from mstv.diffusion.framepack import FramePackDenoiser
from mstv.diffusion.loss import v_loss
from mstv.diffusion.sample_step import Sampling, sample_step
from mstv.diffusion.schedule import NoiseSchedule
from mstv.errors import UserError
from mstv.keyed_random import keyed_generator
from mstv.levels import Levels
from mstv.optimiser import Optimiser
from mstv.rollout.cost import AttentionMode
from mstv.rollout.families import family_from_dict, family_to_dict
from mstv.rollout.framepack import FramePackLatents
from mstv.rollout.generate import SampleStep
from mstv.rollout.layout import StepLayout
from mstv.rollout.plan import PlanFamily
from mstv.trained_module import TrainedModule
from mstv.transformer.initialise import initialise
from mstv.transformer.size import TransformerSize

KIND = "diffusion"


class DiffusionModule(TrainedModule):
    """Trains a denoiser on plan steps drawn by the datamodule (arXiv 2606.09056).

    Args:
        levels: the token pyramid of the latents.
        plan: the plan whose steps are trained; `FramePackLatents` brings the denoiser that merges its context.
        latent_channels: C.
        size: size of the transformer (published: B = 768, 12, 12).
        action_kind: `none`, `discrete` or `vector`.
        num_actions: ids or columns of the actions.
        attention: what context tokens see: `isolated` (context only) or `joint` (everything; published).
        schedule: the noise schedule.
        drop_probability: share of samples that lose their condition, for guidance.
        context_noise: in training, each sample's context is noised to a time drawn uniformly from [0, context_noise]
            and told it, so that the model forgives errors of its own context; 0 is none.
        optimiser: optimiser settings.
        seed: seed of initial weights, times and noise.
    """

    kind = KIND

    def __init__(
        self,
        levels: Levels,
        plan: PlanFamily,
        latent_channels: int,
        size: TransformerSize,
        action_kind: str = "none",
        num_actions: int = 0,
        attention: AttentionMode = "isolated",
        schedule: NoiseSchedule = NoiseSchedule(),  # noqa: B008 - frozen
        drop_probability: float = 0.1,
        context_noise: float = 0.0,
        optimiser: Optimiser = Optimiser(),  # noqa: B008 - frozen
        seed: int = 0,
    ) -> None:
        super().__init__(optimiser, seed)
        if not 0 <= context_noise < 1:
            raise UserError(f"context_noise must lie in [0, 1), got {context_noise}")
        self.drop_probability = drop_probability
        self.context_noise = context_noise
        self.schedule = schedule
        self.levels = levels
        self.family = plan
        self.plan = plan.plan(levels.num_tokens(0))
        self.config = {
            "levels": levels.to_dict(),
            "plan": family_to_dict(plan),
            "latent_channels": latent_channels,
            "size": asdict(size),
            "action_kind": action_kind,
            "num_actions": num_actions,
            "attention": attention,
            "shift": schedule.shift,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            rest = (size, action_kind, num_actions, attention)
            if isinstance(plan, FramePackLatents):
                self.denoiser: Denoiser = FramePackDenoiser(latent_channels, levels, plan.num_context_frames, *rest)
            else:
                self.denoiser = Denoiser(latent_channels, levels.num_levels, *rest)
            initialise(self.denoiser)

    def _losses(self, batch: StepBatch, generator: torch.Generator, training: bool) -> Float[Tensor, " B"]:
        tokens = batch.tokens
        # Drawn on the CPU, so that a run does not depend on the kind of device.
        t = torch.rand(len(tokens), generator=generator)
        dropped = torch.rand(len(tokens), generator=generator) < (self.drop_probability if training else 0)
        eps = torch.randn(tokens.shape, generator=generator)
        context_t = torch.rand(len(tokens), generator=generator) * (self.context_noise if training else 0)
        layout = StepLayout.of(self.plan.steps[batch.step], self.levels, self.device)
        eps, t, dropped, context_t = (value.to(self.device) for value in (eps, t, dropped, context_t))
        return v_loss(self.denoiser, self.schedule, layout, tokens, eps, t, batch.actions, dropped, context_t)

    def training_step(self, batch: StepBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        size = len(batch.keys)
        generator = keyed_generator(self.seed, "diffusion", self.global_step, self.global_rank)
        loss = self._losses(batch, generator, training=True).mean()
        group = self.plan.steps[batch.step].group
        self.log("train/loss", loss, prog_bar=True, batch_size=size)
        self.log(f"train/loss_group{group}", loss, batch_size=size)
        return loss

    def validation_step(self, batch: StepBatch, batch_idx: int) -> None:
        """Loss with noise and times that are the same at every validation."""
        generator = keyed_generator(self.seed, "validation", batch_idx, self.global_rank)
        loss = self._losses(batch, generator, training=False).mean()
        group = self.plan.steps[batch.step].group
        for name in ("validation/loss", f"validation/loss_group{group}"):
            self.log(name, loss, prog_bar=name == "validation/loss", batch_size=len(batch.tokens), sync_dist=True)

    def step_sampler(self, sampling: Sampling) -> SampleStep:
        """What `mstv.rollout.generate` calls for each step."""

        @torch.no_grad()
        def sample(
            layout: StepLayout,
            context: Float[Tensor, "B Nc C"],
            actions: Shaped[Tensor, "B F *A"] | None,
            noise: Float[Tensor, "B N C"],
        ) -> Float[Tensor, "B Nt C"]:
            return sample_step(self.denoiser, self.schedule, layout, context, actions, noise, sampling)

        return sample


def load_diffusion(path: Path) -> tuple[DiffusionModule, str]:
    """Module of a checkpoint with its (averaged) weights, in evaluation mode, and their sha256.

    Raises:
        UserError: not a diffusion checkpoint of ours.
    """
    config, state, sha256 = checkpoint.read_checkpoint(path, KIND)
    module = DiffusionModule(
        levels=Levels.from_dict(config["levels"]),
        plan=family_from_dict(config["plan"]),
        latent_channels=config["latent_channels"],
        size=TransformerSize(**config["size"]),
        action_kind=config["action_kind"],
        num_actions=config["num_actions"],
        attention=config["attention"],
        schedule=NoiseSchedule(config["shift"]),
    )
    checkpoint.load_weights(module, state, path)
    return module.eval().requires_grad_(False), sha256
