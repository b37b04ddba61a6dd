"""Diffusion training on the tokens of plan steps, and the rollout with the trained model."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mstv import checkpoint
from mstv.data.conditions import ConditionKind
from mstv.data.latent_statistics import latent_statistics
from mstv.data.latents import StepBatch
from mstv.diffusion.denoiser import Denoiser
from mstv.diffusion.flops import TrainingStep
from mstv.diffusion.framepack import FramePackDenoiser
from mstv.diffusion.latent_scaling import LatentScaling
from mstv.diffusion.loss import v_errors
from mstv.diffusion.sample_step import Sampling, sample_step
from mstv.diffusion.schedule import NoiseSchedule
from mstv.errors import UserError
from mstv.keyed_random import keyed_normal, keyed_uniform
from mstv.levels import Levels
from mstv.optimiser import Optimiser
from mstv.rollout.cost import AttentionMode
from mstv.rollout.families import family_from_dict, family_to_dict
from mstv.rollout.framepack import FramePackLatents
from mstv.rollout.generate import SampleStep
from mstv.rollout.layout import StepLayout
from mstv.rollout.plan import PlanFamily
from mstv.sharding import shard
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
        action_kind: of the conditions: `none`, `discrete` or `vector`.
        num_actions: ids or columns of the conditions.
        attention: what context tokens see: `isolated` (context only) or `joint` (everything; published).
        schedule: the noise schedule.
        drop_probability: share of samples that lose their condition, for guidance.
        noise_draws: draws of time and noise of each sample's targets that share one pass over its context; more than
            one need isolated attention.
        normalise_latents: bring latents to mean 0 and variance 1 by statistics of the training split, see
            `LatentScaling`; published: no.
        conditions: what the model is told of each frame: `actions` (published), or features of `poses`; the
            datamodule says.
        activation_checkpointing: compute the blocks' activations anew in the backward pass, see `Transformer`.
        context_noise: in training, each sample's context is noised to a time drawn uniformly from [0, context_noise]
            and told it, so that the model forgives errors of its own context; 0 is none.
        optimiser: optimiser settings.
        seed: seed of initial weights, times and noise.
    """

    kind = KIND
    monitor = ("validation/loss", "min")

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
        noise_draws: int = 1,
        normalise_latents: bool = False,
        conditions: ConditionKind = "actions",
        activation_checkpointing: bool = False,
        optimiser: Optimiser = Optimiser(),  # noqa: B008 - frozen
        seed: int = 0,
    ) -> None:
        super().__init__(optimiser, seed)
        if not 0 <= context_noise < 1:
            raise UserError(f"context_noise must lie in [0, 1), got {context_noise}")
        if noise_draws < 1 or (noise_draws > 1 and attention == "joint"):
            raise UserError(
                f"noise_draws is {noise_draws}, attention is {attention}: give at least 1, and more than 1 only with "
                "isolated attention, whose context can be shared"
            )
        self.drop_probability = drop_probability
        self.context_noise = context_noise
        self.noise_draws = noise_draws
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
            "normalise_latents": normalise_latents,
            "conditions": conditions,
        }
        self.conditions = conditions
        self.scaling = LatentScaling(levels.num_levels, latent_channels) if normalise_latents else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            rest = (size, action_kind, num_actions, attention)
            if isinstance(plan, FramePackLatents):
                self.denoiser: Denoiser = FramePackDenoiser(latent_channels, levels, plan.num_context_frames, *rest)
            else:
                self.denoiser = Denoiser(latent_channels, levels.num_levels, *rest)
            initialise(self.denoiser)
        self.denoiser.transformer.checkpointing = activation_checkpointing
        self.training_steps = TrainingStep.of_plan(plan, levels.num_tokens(0), latent_channels)

    def setup(self, stage: str) -> None:
        """Take the statistics of the latents, if they are to be normalised; a checkpoint's come after this."""
        if stage == "fit" and self.scaling is not None:
            mean, scale = latent_statistics(self.trainer.datamodule.store)  # type: ignore[attr-defined]
            self.scaling.set(torch.from_numpy(mean), torch.from_numpy(scale))

    def configure_model(self) -> None:
        """Shard block by block, then the rest, where the strategy gives a mesh of processes (FSDP2)."""
        if self.device_mesh is None:
            return
        mesh = self.device_mesh["data_parallel"]
        for block in self.denoiser.transformer.blocks:
            shard(block, ("conditioned", "key_value"), mesh)
        shard(self, ("training_step", "validation_step"), mesh)

    def compile_blocks(self) -> None:
        """Compile the blocks, once for each shape of a plan step that comes along."""
        self.denoiser.transformer.compile_blocks()

    def num_samples(self, batch: StepBatch) -> int:
        """Sequences of this rank's batch."""
        return len(batch.tokens)

    def num_tokens(self, batch: StepBatch) -> int:
        """Tokens of this rank's batch through the transformer: contexts once, targets for every noise draw."""
        return len(batch.tokens) * self.training_steps[batch.step].num_tokens(self.noise_draws)

    def training_flops(self, batch: StepBatch) -> int:
        """Matrix-product FLOPs of forward and backward of this rank's batch; see `mstv.transformer.flops`."""
        size, attention = TransformerSize(**self.config["size"]), self.denoiser.attention
        step = self.training_steps[batch.step]
        return len(batch.tokens) * step.flops(size, self.config["latent_channels"], attention, self.noise_draws)

    def training_step(self, batch: StepBatch, batch_idx: int) -> dict[str, Any]:
        """Loss of one batch, and for the log, of its S = noise_draws * B samples: see `_outputs`."""
        return self._outputs(batch, "diffusion", self.noise_draws, self.drop_probability, self.context_noise)

    def validation_step(self, batch: StepBatch, batch_idx: int) -> None:
        """Loss with noise and times that are the same at every validation, clean contexts and all conditions."""
        outputs = self._outputs(batch, "validation", 1, 0.0, 0.0)
        means = {
            f"validation/loss_level{level}": outputs["level_losses"][:, i].mean()
            for i, level in enumerate(outputs["levels"])
        }
        for name, value in {"validation/loss": outputs["loss"], **means}.items():
            self.log(name, value, prog_bar=name == "validation/loss", batch_size=len(batch.tokens), sync_dist=True)

    def _outputs(
        self, batch: StepBatch, purpose: str, draws: int, drop_probability: float, context_noise: float
    ) -> dict[str, Any]:
        """`loss`; detached: `losses` (S,), `t` (S,), and `level_losses` (S, K) of the K target `levels`."""
        layout = StepLayout.of(self.plan.steps[batch.step], self.levels, self.device)
        tokens, count = self.normalised(batch.tokens, layout.token_level), len(batch.tokens)
        # Keyed by batch and sample, so that ranks draw what one process with all their samples would.
        first, key = self.global_rank * count, (self.seed, purpose, batch.index)
        drop, context_t, *t = keyed_uniform(first, count, 2 + draws, *key).to(self.device).unbind(1)
        size = (count, layout.num_context_tokens + draws * layout.num_target_tokens, tokens.shape[2])
        context_eps, eps = keyed_normal(first, size, *key, "eps", device=self.device).split(
            [layout.num_context_tokens, draws * layout.num_target_tokens], 1
        )
        errors = v_errors(
            *(self.denoiser, self.schedule, layout, tokens, context_eps),
            eps=torch.cat(eps.chunk(draws, 1)),
            t=torch.cat(t),
            actions=batch.actions,
            dropped=drop < drop_probability,
            context_t=context_t * context_noise,
        )
        losses, known = errors.mean(1), errors.detach()
        return {
            "loss": losses.mean(),
            "losses": losses.detach(),
            "t": torch.cat(t),
            "levels": layout.target_levels,
            "level_losses": torch.stack([known[:, part].mean(1) for part in layout.target_level_slices], 1),
        }

    def normalised(self, tokens: Float[Tensor, "B N C"], levels: Int[Tensor, " N"]) -> Float[Tensor, "B N C"]:
        """Latents of tokens of the given levels as the denoiser takes them."""
        return tokens if self.scaling is None else self.scaling.normalise(tokens, levels)

    def step_sampler(self, sampling: Sampling) -> SampleStep:
        """What `mstv.rollout.generate` calls for each step."""

        @torch.no_grad()
        def sample(
            layout: StepLayout,
            context: Float[Tensor, "B Nc C"],
            actions: Shaped[Tensor, "B F *A"] | None,
            noise: Float[Tensor, "B N C"],
        ) -> Float[Tensor, "B Nt C"]:
            split = layout.num_context_tokens
            context = self.normalised(context, layout.token_level[:split])
            found = sample_step(self.denoiser, self.schedule, layout, context, actions, noise, sampling)
            return found if self.scaling is None else self.scaling.restore(found, layout.token_level[split:])

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
        # Checkpoints of before these existed.
        normalise_latents=config.get("normalise_latents", False),
        conditions=config.get("conditions", "actions"),
    )
    checkpoint.load_weights(module, state, path)
    return module.eval().requires_grad_(False), sha256
