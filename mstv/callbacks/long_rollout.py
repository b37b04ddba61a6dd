"""Long-rollout consistency during training."""

import sys
import time
import warnings
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from mstv.callbacks.agreement import Agreement
from mstv.callbacks.ema import EMA
from mstv.callbacks.preemption import Preemption, Request
from mstv.callbacks.rolled_episode import EpisodeDecoder, RolledEpisode
from mstv.callbacks.rollout_report import report
from mstv.callbacks.throughput import outside_training
from mstv.callbacks.time_share import TimeShare
from mstv.data.conditions import Conditions
from mstv.data.latent_shards import LatentStore
from mstv.data.latents import stack_latents
from mstv.device_peak import synchronise
from mstv.diffusion.sample_step import Sampling
from mstv.errors import UserError
from mstv.rollout.generate import Rollout

PATIENCE = timedelta(days=1)
"""How long other ranks wait for the first one's turn. Its end is no collective of theirs, whose limit is minutes."""


class LongRollout(Callback):
    """Every so many steps rolls out fixed episodes with the averaged weights, on the first rank; the others wait.

    It logs PSNR against horizon with both bounds, how well places that come back are shown again, videos beside the
    truth, and what each level of the first episode's tokens shows. Frames are scored against the recorded ones where
    the set that the latents were made from is at hand, else against the decoded true latents.

    A turn takes fewer episodes, never fewer frames, where all turns together would take more than `max_share` of the
    time of training, or is left out, and says so. Whatever goes wrong is a warning, never the end of the training.

    Args:
        every_steps: training steps between two rollouts.
        episodes: first episodes of the validation split that are long enough.
        context_frames: ground-truth frames of context.
        end_frame: generate up to this frame.
        sampling: how a step is sampled.
        seed: seed of the noise.
        max_share: largest share of the time of training, which the time of rollouts is not counted to.

    Raises:
        UserError: a number that is not positive, or an end that is not beyond the context.
    """

    def __init__(
        self,
        every_steps: int,
        episodes: int = 2,
        context_frames: int = 256,
        end_frame: int = 512,
        sampling: Sampling = Sampling(12, "dpm_solver"),  # noqa: B008 - frozen
        seed: int = 0,
        max_share: float = 0.05,
    ) -> None:
        numbers = {"every_steps": every_steps, "episodes": episodes, "context_frames": context_frames}
        for name, number in {**numbers, "max_share": max_share}.items():
            if number <= 0:
                raise UserError(f"LongRollout: {name} must be positive, got {number}")
        if end_frame <= context_frames:
            raise UserError(f"LongRollout: end_frame {end_frame} must lie beyond context_frames {context_frames}")
        self.every_steps = every_steps
        self.episodes = episodes
        self.context_frames = context_frames
        self.end_frame = end_frame
        self.sampling = sampling
        self.seed = seed
        self._time = TimeShare(max_share)
        self._agreement = Agreement()
        self._decoder: EpisodeDecoder | None = None
        self._step = 0

    def state_dict(self) -> dict[str, Any]:
        """The times so far."""
        return self._time.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The times so far; a checkpoint of an earlier version has none."""
        if state_dict:
            self._time.load_state_dict(state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know a step when it is done; start the clock."""
        self._agreement.open(PATIENCE)
        self._step = trainer.global_step
        self._time.go_on()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the group of ranks."""
        self._time.pause()
        self._agreement.close()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._time.pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on, unless it was the check before the training."""
        if not trainer.sanity_checking:
            self._time.go_on()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Roll out when it is time."""
        # Micro-batches of the next step find the same number.
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if not stepped or self._step % self.every_steps:
            return
        with outside_training(trainer):
            self._time.pause()
            if trainer.is_global_zero:
                self._take_turn(trainer, pl_module)
            self._agreement.largest(0)
            self._time.go_on()

    def _take_turn(self, trainer: Trainer, module: Any) -> None:
        """As many episodes as there is time for; the first tries stop as soon as they turn out to be too dear."""
        averages = [callback for callback in trainer.callbacks if isinstance(callback, EMA)]  # type: ignore[attr-defined]
        began, done, wanted = time.perf_counter(), 0, self.episodes
        spent_before = self._time.spent_seconds
        try:
            keys = self._keys(trainer.datamodule.store)  # type: ignore[attr-defined]
            wanted = len(keys)
            while not done and (count := self._time.affordable(wanted)):
                tried = time.perf_counter()
                try:
                    with averages[0].applied(module) if averages else nullcontext():
                        episodes = self._roll_out(trainer, module, keys[:count])
                    # No turn follows this one; -1 is no limit.
                    is_last = 0 < trainer.max_steps < trainer.global_step + self.every_steps
                    fps = float(trainer.datamodule.store.manifest.fps)  # type: ignore[attr-defined]
                    report(trainer, episodes, self.seed, fps, is_last)
                    done = count
                    self._time.measured(count, time.perf_counter() - tried)
                except _TooDear as error:
                    self._time.measured(count, error.seconds)
                self._time.spent_seconds = spent_before + time.perf_counter() - began
        except _Stopped:
            return
        except Exception as error:
            warnings.warn(f"the long rollout at step {trainer.global_step} failed: {error}", stacklevel=2)
            return
        finally:
            self._time.spent_seconds = spent_before + time.perf_counter() - began
        self._tell(trainer, done, wanted)

    def _tell(self, trainer: Trainer, done: int, wanted: int) -> None:
        """Log what the turn took, and say where it was less than asked for."""
        scalars = {
            "rollout/episodes": float(done),
            "rollout/seconds": self._time.spent_seconds,
            "rollout/share": self._time.share,
        }
        for logger in trainer.loggers:
            logger.log_metrics(scalars, step=trainer.global_step - 1)
        if done < wanted:
            fix = "there is time later in a longer training, or raise max_share of LongRollout"
            limit = f"{self._time.max_share:.0%} of {self._time.training_seconds:.0f} s of training"
            what = f"takes {done} of {wanted} episodes" if done else "is left out"
            cost = f"one episode takes about {self._time.cost(1):.1f} s" if self._time.cost(1) else "it is early"
            print(
                f"mstv: the long rollout at step {trainer.global_step} {what}: {cost}, {limit}: {fix}", file=sys.stderr
            )

    def _keys(self, store: LatentStore) -> list[str]:
        keys = [key for key in store.keys("validation") if store.num_frames(key) >= self.end_frame]
        if not keys:
            raise UserError(f"{store.folder}: no episode of split validation has {self.end_frame} frames")
        return keys[: self.episodes]

    @torch.no_grad()
    def _roll_out(self, trainer: Trainer, module: Any, keys: list[str]) -> list[RolledEpisode]:
        store: LatentStore = trainer.datamodule.store  # type: ignore[attr-defined]
        module.eval()
        try:
            with trainer.precision_plugin.forward_context():
                self._decoder = self._decoder or EpisodeDecoder(store)
                levels = self._generate(trainer, store, keys, module)
                return [
                    self._decoder.episode(
                        key, [None if level is None else level[row] for level in levels], self.context_frames, not row
                    )
                    for row, key in enumerate(keys)
                ]
        finally:
            module.train()

    def _generate(self, trainer: Trainer, store: LatentStore, keys: list[str], module: Any) -> list[Tensor | None]:
        """Generated latents (E, T, rows, columns, C) of each level of the frames after the context.

        Raises:
            _TooDear: it would take longer than there is time for.
            _Stopped: a signal asks for the end of the training.
        """
        conditions = Conditions(store, module.conditions).stack(keys, self.end_frame)
        span = (self.context_frames, self.end_frame)
        rollout = Rollout(module.plan, module.levels, *span, keys, conditions, self.seed)
        levels, context = range(module.plan.num_levels), slice(self.context_frames)
        state = rollout.begin([stack_latents(store, keys, level, context).to(module.device) for level in levels])
        parts: list[list[Tensor | None]] = []
        began, budget = time.perf_counter(), self._time.budget
        # Steps differ in cost, and the first of a shape is slow: a few of them say little.
        enough = min(rollout.num_steps, max(len(module.plan.steps), 3))
        for finished in rollout.run(state, module.step_sampler(self.sampling)):
            if finished.latents.shape[1]:
                parts.append(rollout.finished_levels(state, finished))
            synchronise(module.device)
            seconds = time.perf_counter() - began
            expected = seconds / state.num_done * rollout.num_steps
            if seconds > budget or (state.num_done >= enough and expected > budget):
                raise _TooDear(max(expected, seconds))
            connector: Any = trainer._signal_connector
            if isinstance(connector, Preemption) and connector.request != Request.NOTHING:
                raise _Stopped
        joined = []
        for level in levels:
            known = [part[level] for part in parts]
            whole = [latents for latents in known if latents is not None]
            joined.append(torch.cat(whole, 1) if len(whole) == len(known) else None)
        return joined


class _TooDear(Exception):
    """There is not enough time for a rollout that is expected to take `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"takes about {seconds:.1f} s")
        self.seconds = seconds


class _Stopped(Exception):
    """The training is asked to stop."""
