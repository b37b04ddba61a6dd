"""What a training rolls out: the settings, their card, and the latents."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from lightning import Trainer
from torch import Tensor

from mstv.callbacks.ema import EMA
from mstv.callbacks.turn import Turn
from mstv.data.conditions import Conditions
from mstv.data.latent_shards import LatentStore
from mstv.data.latents import stack_latents
from mstv.data.results import GroundTruth, MetricNote, PlanNote
from mstv.data.results.training_rollout import TrainingRolloutCard
from mstv.data.schema import Split
from mstv.device_peak import synchronise
from mstv.diffusion.sample_step import Sampling
from mstv.errors import UserError
from mstv.rollout.families import family_to_dict
from mstv.rollout.generate import Rollout

SPLIT: Split = "validation"
"""Of the episodes."""


@dataclass(frozen=True)
class RolloutSettings:
    """Which frames are given and generated, and how.

    Attributes:
        context_frames: ground-truth frames of context.
        end_frame: generate up to this frame.
        sampling: how a step is sampled.
        seed: seed of the noise.
    """

    context_frames: int
    end_frame: int
    sampling: Sampling
    seed: int

    def keys(self, store: LatentStore, count: int) -> list[str]:
        """The first episodes that are long enough, at most `count`.

        Raises:
            UserError: there is none.
        """
        keys = [key for key in store.keys(SPLIT) if store.num_frames(key) >= self.end_frame]
        if not keys:
            raise UserError(f"{store.folder}: no episode of split {SPLIT} has {self.end_frame} frames")
        return keys[:count]

    @torch.no_grad()
    def generate(
        self, trainer: Trainer, module: Any, store: LatentStore, keys: list[str], turn: Turn, afterwards: float
    ) -> list[Float[Tensor, "E T _h _w C"] | None]:
        """Latents of each level of the frames after the context, by the averaged weights; None if the plan has none.

        Args:
            trainer: of the training, with its precision and the averages.
            module: that is trained.
            store: the episodes.
            keys: of the episodes.
            turn: is told of each step.
            afterwards: seconds that are known to be needed for what is made of the latents.

        Raises:
            TooDear: it would take longer than there is time for.
            Stopped: a signal asks for the end of the training.
        """
        averages = averages_of(trainer)
        module.eval()
        try:
            with averages.applied(module) if averages else nullcontext(), trainer.precision_plugin.forward_context():
                return self._generate(module, store, keys, turn, afterwards)
        finally:
            module.train()

    def _generate(
        self, module: Any, store: LatentStore, keys: list[str], turn: Turn, afterwards: float
    ) -> list[Tensor | None]:
        conditions = Conditions(store, module.conditions).stack(keys, self.end_frame)
        span = (self.context_frames, self.end_frame)
        rollout = Rollout(module.plan, module.levels, *span, keys, conditions, self.seed)
        levels, context = range(module.plan.num_levels), slice(self.context_frames)
        state = rollout.begin([stack_latents(store, keys, level, context).to(module.device) for level in levels])
        parts: list[list[Tensor | None]] = []
        # Steps differ in cost, and the first of a shape is slow: a few of them say little.
        turn.stage(rollout.num_steps, max(len(module.plan.steps), 3), afterwards)
        for finished in rollout.run(state, module.step_sampler(self.sampling)):
            if finished.latents.shape[1]:
                parts.append(rollout.finished_levels(state, finished))
            synchronise(module.device)
            turn.advance()
        joined = []
        for level in levels:
            known = [part[level] for part in parts]
            whole = [latents for latents in known if latents is not None]
            joined.append(torch.cat(whole, 1) if len(whole) == len(known) else None)
        return joined

    def card(
        self,
        trainer: Trainer,
        module: Any,
        store: LatentStore,
        keys: list[str],
        tokenizer_sha256: str,
        metrics: tuple[MetricNote, ...],
        ground_truth: Sequence[GroundTruth],
    ) -> TrainingRolloutCard:
        """The card of the episodes that were rolled out at this step.

        Args:
            trainer: of the training.
            module: that is trained.
            store: the episodes.
            keys: of the episodes that were finished.
            tokenizer_sha256: of the weights that decoded them.
            metrics: that scored them.
            ground_truth: that they were scored against.
        """
        plan, nfe = family_to_dict(module.family), self.sampling.nfe
        return TrainingRolloutCard(
            step=trainer.global_step,
            weights="averaged" if averages_of(trainer) else "trained",
            precision=str(trainer.precision),
            split=SPLIT,
            context_frames=self.context_frames,
            end_frame=self.end_frame,
            num_episodes=len(keys),
            episodes=tuple(keys),
            selection="first episodes of the split that are long enough, as many as there was time for",
            seed=self.seed,
            sampler=self.sampling.sampler,
            nfe=nfe if isinstance(nfe, int) else tuple(nfe),
            guidance=self.sampling.guidance,
            context_refresh=self.sampling.refresh,
            context_noise=self.sampling.context_noise,
            plan=PlanNote(family=plan.pop("family"), parameters=plan),
            attention=module.denoiser.attention,
            metrics=metrics,
            ground_truth=tuple(ground_truth),
            image_size=store.levels.image_size,
            fps=store.manifest.fps,
            tokenizer_sha256=tokenizer_sha256,
            latents_sha256=store.manifest.sha256,
            data_sha256=store.manifest.source_sha256,
        )


def averages_of(trainer: Trainer) -> EMA | None:
    """The averaged weights, if there are any."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, EMA)), None)
