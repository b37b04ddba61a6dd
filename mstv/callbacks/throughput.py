"""How fast a training is, how well it uses its devices, and what it waits for."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from mstv.callbacks.all_ranks import gather
from mstv.device_peak import DevicePeak, synchronise

GIB = 2**30


class Throughput(Callback):
    """Logs every `log_every_n_steps` steps, of the steps since the last time, as `throughput/...`:

    - `samples_per_second`, `tokens_per_second`: of all ranks and micro-batches, over the time of training alone;
    - `flops_utilisation`: matrix-product FLOPs of forward and backward, without recomputation, per second of training,
      over the sum of the devices' peaks (`peak`: published, dense; or measured at the start);
    - `step_seconds`: of training, one step of the optimiser with all its micro-batches;
    - `data_wait_share`: of the time of training, what the loop waited for the loader, on the rank that waited most; on
      a GPU, which has work left while the loop waits, it is an upper bound;
    - `other_share`: of all time, what validation, rollouts and checkpoints took; it is no time of training;
    - `memory_gib`: on the rank that has most: peak of what PyTorch allocated on its GPU, or of the process on a CPU.

    The clock starts after the first step, which loads and compiles. The device is waited for at these steps, and where
    something else than training begins or ends, and never else. Times are those of the first rank.
    """

    def __init__(self) -> None:
        self.peak: DevicePeak | None = None
        self.latest: dict[str, float] = {}
        """What was logged last, by name without `throughput/`."""
        self._step = 0
        self._pauses = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look up or measure the peak."""
        if stage == "fit":
            self.peak = DevicePeak.of(trainer.strategy.root_device, str(trainer.precision))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know a step when it is done."""
        self._step = trainer.global_step
        self._began: float | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the batch; log when it is time."""
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if self._began is None:
            if stepped:
                self._begin(trainer)
            return
        self._samples += pl_module.num_samples(batch)
        self._tokens += pl_module.num_tokens(batch)
        self._flops += pl_module.training_flops(batch)
        self._steps += stepped
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if stepped and every and self._step % every == 0:
            self._log(trainer)
            self._begin(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._pause(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on."""
        self._go_on(trainer)

    def _begin(self, trainer: Trainer) -> None:
        synchronise(trainer.strategy.root_device)
        self._samples = self._tokens = self._flops = self._steps = 0
        self._other = 0.0
        self._waited = trainer.train_dataloader.wait_seconds  # type: ignore[union-attr]
        self._began = time.perf_counter()

    def _pause(self, trainer: Trainer) -> None:
        if not self._pauses:
            synchronise(trainer.strategy.root_device)
            self._paused_at = time.perf_counter()
        self._pauses += 1

    def _go_on(self, trainer: Trainer) -> None:
        self._pauses -= 1
        if not self._pauses and self._began is not None:
            synchronise(trainer.strategy.root_device)
            self._other += time.perf_counter() - self._paused_at

    def _log(self, trainer: Trainer) -> None:
        assert self._began is not None and self.peak is not None
        synchronise(trainer.strategy.root_device)
        total = time.perf_counter() - self._began
        waited = trainer.train_dataloader.wait_seconds - self._waited  # type: ignore[union-attr]
        seconds = total - self._other
        mine = [self._samples, self._tokens, self._flops, self.peak.flops, waited / seconds, _memory(trainer)]
        ranks = gather(trainer, torch.tensor(mine, dtype=torch.float64))
        samples, tokens, flops, peak, *_ = ranks.sum(0).tolist()
        *_, wait_share, memory = ranks.amax(0).tolist()
        self.latest = {
            "samples_per_second": samples / seconds,
            "tokens_per_second": tokens / seconds,
            "flops_utilisation": flops / seconds / peak,
            "step_seconds": seconds / self._steps,
            "data_wait_share": wait_share,
            "other_share": self._other / total,
            "memory_gib": memory,
        }
        for logger in trainer.loggers:
            logger.log_metrics({f"throughput/{name}": value for name, value in self.latest.items()}, self._step - 1)


@contextmanager
def outside_training(trainer: Trainer) -> Iterator[None]:
    """What is done meanwhile is no time of training to `Throughput`, if the trainer has one; may be nested."""
    clocks = [callback for callback in trainer.callbacks if isinstance(callback, Throughput)]  # type: ignore[attr-defined]
    for clock in clocks:
        clock._pause(trainer)
    try:
        yield
    finally:
        for clock in clocks:
            clock._go_on(trainer)


def _memory(trainer: Trainer) -> float:
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    # Bytes on macOS, KiB elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
