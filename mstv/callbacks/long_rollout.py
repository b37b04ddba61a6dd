"""Long-rollout consistency during training."""

import sys
import time
import warnings
from datetime import timedelta
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from mstv.callbacks.agreement import Agreement
from mstv.callbacks.preemption import Preemption, Request
from mstv.callbacks.rolled_episode import EpisodeDecoder
from mstv.callbacks.rollout_generation import RolloutSettings
from mstv.callbacks.rollout_report import report
from mstv.callbacks.rollout_scores import RolloutScores
from mstv.callbacks.rollout_videos import save_videos
from mstv.callbacks.throughput import outside_training
from mstv.callbacks.time_share import TimeShare
from mstv.callbacks.turn import Problems, Stopped, TooDear, Turn
from mstv.data.latent_shards import LatentStore
from mstv.diffusion.sample_step import Sampling
from mstv.errors import UserError

PATIENCE = timedelta(days=1)
"""How long other ranks wait for the first one's turn. Its end is no collective of theirs, whose limit is minutes."""


class LongRollout(Callback):
    """Every so many steps rolls out fixed episodes with the averaged weights, on the first rank; the others wait.

    It logs PSNR against horizon with both bounds, how well places that come back are shown again, videos beside the
    truth, and what each level of the first episode's tokens shows. Frames are scored against the recorded ones where
    the set that the latents were made from is at hand, else against the decoded true latents.

    A turn takes fewer episodes, never fewer frames, where all turns together would take more than `max_share` of the
    time of training, or is left out, and says so. All of it counts: generating, decoding, scores, videos, loggers. It
    is estimated from what earlier turns took, and in the first turn from what its own parts take. Whatever goes wrong
    is a warning, never the end of the training: the other parts go on, and the other ranks do not wait for ever.

    Revisits are those of `mstv evaluate`, by its names and means; the numbers stand in `media/rollout-STEP.json` with
    a card.

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
        self._settings = RolloutSettings(context_frames, end_frame, sampling, seed)
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
        problems = Problems()
        with outside_training(trainer):
            self._time.pause()
            if trainer.is_global_zero:
                self._take_turn(trainer, pl_module, problems)
            # Whatever happened there, all ranks go on together.
            self._agreement.largest(0)
            self._time.go_on()
        if problems.found:
            failed = "; ".join(problems.found)
            warnings.warn(f"the long rollout at step {trainer.global_step} failed: {failed}", stacklevel=2)

    def _take_turn(self, trainer: Trainer, module: Any, problems: Problems) -> None:
        """As many episodes as there is time for; the first tries stop as soon as they turn out to be too dear."""
        began, done = time.perf_counter(), 0
        spent_before = self._time.spent_seconds
        try:
            keys = self._settings.keys(trainer.datamodule.store, self.episodes)  # type: ignore[attr-defined]
            while not done and (count := self._time.affordable(len(keys))):
                done = self._try(trainer, module, keys[:count], problems)
                self._time.spent_seconds = spent_before + time.perf_counter() - began
            self._tell(trainer, done, len(keys), problems)
        except Stopped:
            pass
        except Exception as error:
            problems.found.append(str(error) or type(error).__name__)
        finally:
            self._time.spent_seconds = spent_before + time.perf_counter() - began

    def _try(self, trainer: Trainer, module: Any, keys: list[str], problems: Problems) -> int:
        """Roll out, score and show; returns the number of episodes, 0 where there is no time for one of them.

        All are generated together, and then finished one by one as long as there is time.
        """
        store: LatentStore = trainer.datamodule.store  # type: ignore[attr-defined]
        turn = Turn(self._time.budget, lambda: _is_stopping(trainer))
        device = module.device if module.device.type == "cuda" else torch.device("cpu")
        scores = RolloutScores(store.levels.image_size, self._settings.seed, device)
        done, dearest = 0, self._time.finishing_seconds
        try:
            afterwards = len(keys) * self._time.finishing_seconds + self._time.closing_seconds
            levels = self._settings.generate(trainer, module, store, keys, turn, afterwards)
            dearest = 0.0
            for row, key in enumerate(keys):
                if row and not turn.allows(dearest + self._time.closing_seconds):
                    break
                before = turn.spent
                made = [None if level is None else level[row] for level in levels]
                self._finish(trainer, key, made, not row, scores, turn, problems)
                done += 1
                dearest = max(dearest, turn.spent - before)
        except TooDear as error:
            if not done:
                self._time.measured(len(keys), error.seconds)
                return 0
        before = turn.spent
        # No turn follows this one; -1 is no limit.
        is_last = 0 < trainer.max_steps < trainer.global_step + self.every_steps
        assert self._decoder is not None, "an episode was decoded"
        made_with = (self._decoder.tokenizer_sha256, scores.notes, scores.ground_truth)
        card = self._settings.card(trainer, module, store, keys[:done], *made_with)
        report(trainer, card, scores, is_last, problems)
        self._time.finishing_seconds, self._time.closing_seconds = dearest, turn.spent - before
        self._time.measured(len(keys), turn.spent + (len(keys) - done) * dearest)
        if done < len(keys):
            self._time.measured(done, turn.spent)
        return done

    @torch.no_grad()
    def _finish(
        self,
        trainer: Trainer,
        key: str,
        levels: list[Tensor | None],
        each_level: bool,
        scores: RolloutScores,
        turn: Turn,
        problems: Problems,
    ) -> None:
        """What is done with an episode once it was generated: frames, scores, videos."""
        store: LatentStore = trainer.datamodule.store  # type: ignore[attr-defined]
        self._decoder = self._decoder or EpisodeDecoder(store)
        with trainer.precision_plugin.forward_context():
            rolled = self._decoder.episode(key, levels, self._settings.context_frames, each_level, turn)
        measured = scores.measure(rolled, turn)
        save_videos(trainer, rolled, float(store.manifest.fps), turn, problems)
        scores.add(measured)

    def _tell(self, trainer: Trainer, done: int, wanted: int, problems: Problems) -> None:
        """Log what the turn took, and say where it was less than asked for."""
        scalars = {
            "rollout/episodes": float(done),
            "rollout/seconds": self._time.spent_seconds,
            "rollout/share": self._time.share,
        }
        for logger in trainer.loggers:
            with problems.of("logging"):
                logger.log_metrics(scalars, step=trainer.global_step - 1)
        if done < wanted:
            fix = "there is time later in a longer training, or raise max_share of LongRollout"
            limit = f"{self._time.max_share:.0%} of {self._time.training_seconds:.0f} s of training"
            what = f"takes {done} of {wanted} episodes" if done else "is left out"
            cost = f"one episode takes about {self._time.cost(1):.1f} s" if self._time.cost(1) else "it is early"
            print(
                f"mstv: the long rollout at step {trainer.global_step} {what}: {cost}, {limit}: {fix}", file=sys.stderr
            )


def _is_stopping(trainer: Trainer) -> bool:
    connector: Any = trainer._signal_connector
    return isinstance(connector, Preemption) and connector.request != Request.NOTHING
