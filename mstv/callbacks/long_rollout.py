"""Long-rollout consistency during training."""

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from mstv.callbacks.ema import EMA
from mstv.callbacks.media import log_curves, log_video, media_path
from mstv.callbacks.throughput import outside_training
from mstv.data.latent_shards import LatentStore
from mstv.data.conditions import Conditions
from mstv.data.latents import stack_latents
from mstv.data.schema import TOKENIZER_COPY, atomic_path
from mstv.data.video import encode_video
from mstv.diffusion.sample_step import Sampling
from mstv.keyed_random import keyed_generator
from mstv.metrics import frame_psnr
from mstv.rollout.generate import Rollout
from mstv.tokenizer.module import load_tokenizer
from mstv.tokenizer.tokenizer import Tokenizer


class LongRollout(Callback):
    """Every so many steps rolls out fixed episodes with the averaged weights; logs PSNR against horizon and videos.

    Frames are scored against decoded true latents; the curve of shuffled true latents is the lower bound. Whatever
    goes wrong here is a warning, never the end of the training.

    Args:
        every_steps: training steps between two rollouts.
        episodes: first episodes of the validation split.
        context_frames: ground-truth frames of context.
        end_frame: generate up to this frame.
        sampling: how a step is sampled.
        seed: seed of the noise.
    """

    HORIZONS = (1, 4, 16, 64, 256)

    def __init__(
        self,
        every_steps: int,
        episodes: int = 2,
        context_frames: int = 256,
        end_frame: int = 512,
        sampling: Sampling = Sampling(12, "dpm_solver"),  # noqa: B008 - frozen
        seed: int = 0,
    ) -> None:
        self.every_steps = every_steps
        self.episodes = episodes
        self.context_frames = context_frames
        self.end_frame = end_frame
        self.sampling = sampling
        self.seed = seed
        self._tokenizer: Tokenizer | None = None
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know a step when it is done."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Roll out when it is time, on rank 0."""
        # Micro-batches of the next step find the same number.
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if not stepped or self._step % self.every_steps or not trainer.is_global_zero:
            return
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        averages = [callback for callback in callbacks if isinstance(callback, EMA)]
        weights = averages[0].applied(pl_module) if averages else nullcontext()
        try:
            with outside_training(trainer), weights:
                self._roll_out(trainer, pl_module)
        except Exception as error:
            warnings.warn(f"the long rollout at step {trainer.global_step} failed: {error}", stacklevel=2)

    @torch.no_grad()
    def _roll_out(self, trainer: Trainer, module: Any) -> None:
        store: LatentStore = trainer.datamodule.store  # type: ignore[attr-defined]
        keys = store.keys("validation")[: self.episodes]
        module.eval()
        try:
            with trainer.precision_plugin.forward_context():
                truth, generated = self._generate(store, keys, module)
                videos = [[self._decode(store.folder, part) for part in parts] for parts in (truth, generated)]
        finally:
            module.train()
        curves: dict[str, list[np.ndarray]] = {"generated": [], "shuffled": []}
        for key, true, made in zip(keys, *videos, strict=True):
            order = torch.randperm(len(true), generator=keyed_generator(self.seed, "shuffled", key))
            curves["generated"].append(frame_psnr(made[None], true[None])[0].numpy())
            curves["shuffled"].append(frame_psnr(true[order][None], true[None])[0].numpy())
            self._save_video(trainer, key, true, made, float(trainer.datamodule.store.manifest.fps))  # type: ignore[attr-defined]
        means = {name: np.mean(values, 0) for name, values in curves.items()}
        horizon = np.arange(1, len(means["generated"]) + 1)
        log_curves(trainer, "rollout/psnr", horizon.tolist(), {k: v.tolist() for k, v in means.items()}, "horizon")
        scalars = {
            f"rollout/psnr_h{h}": float(means["generated"][h // 2 : h].mean()) for h in self.HORIZONS if h in horizon
        }
        scalars["rollout/psnr_shuffled"] = float(means["shuffled"].mean())
        for logger in trainer.loggers:
            # Lightning's number of the step that has just been done.
            logger.log_metrics(scalars, step=trainer.global_step - 1)

    def _generate(self, store: LatentStore, keys: list[str], module: Any) -> tuple[Tensor, Tensor]:
        """True and generated level-0 latents (E, T, rows, columns, C) of the frames after the context."""
        actions = Conditions(store, module.conditions).stack(keys, self.end_frame)
        rollout = Rollout(module.plan, module.levels, self.context_frames, self.end_frame, keys, actions, self.seed)
        context = slice(self.context_frames)
        levels = range(module.plan.num_levels)
        state = rollout.begin([stack_latents(store, keys, level, context).to(module.device) for level in levels])
        finished = [part.latents for part in rollout.run(state, module.step_sampler(self.sampling))]
        truth = stack_latents(store, keys, 0, slice(self.context_frames, self.end_frame)).to(module.device)
        return truth, torch.cat(finished, 1)

    def _decode(self, folder: Path, latents: Tensor) -> Tensor:
        """Frames (T, 3, H, W) on the CPU."""
        if self._tokenizer is None:
            self._tokenizer, _ = load_tokenizer(folder / TOKENIZER_COPY)
        tokenizer = self._tokenizer.to(latents.device)
        return torch.cat([tokenizer.decode(part).float().cpu() for part in latents.split(64)])

    def _save_video(self, trainer: Trainer, key: str, true: Tensor, made: Tensor, fps: float) -> None:
        """Truth on the left, rollout on the right."""
        frames = (torch.cat([true, made], 3) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        path = media_path(trainer, f"rollout-{key}", "mp4")
        with atomic_path(path) as temporary:
            encode_video(frames, temporary, fps)
        log_video(trainer, f"rollout/{key}", path)
