"""One training of `benchmarks.training` in a process of its own: it trains when told to, and stands still between."""

import contextlib
import copy
import math
import os
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.rollout import peak_mib, reset_peak, synchronise
from benchmarks.training_setup import Run
from mstv.callbacks.ema import EMA
from mstv.callbacks.long_rollout import LongRollout
from mstv.callbacks.reconstructions import ReconstructionGrid
from mstv.callbacks.rolling_checkpoint import RollingCheckpoint
from mstv.cli.fit import FitCLI, quiet_lightning
from mstv.cli.runtime import Runtime
from mstv.data.latents import StepBatch
from mstv.diffusion.flops import TrainingStep
from mstv.rollout.layout import StepLayout
from mstv.token_cells import TokenCells


@dataclass
class Round:
    """What a process did between two commands.

    Attributes:
        steps: training steps.
        seconds: by the clock, the accelerator's work included.
        cpu_seconds: of this process and all its threads, loader processes not included.
        wait_seconds: that it stood waiting for the loader.
        samples: sequences or frames.
        tokens: through the transformer.
        flops: of matrix products, by the formula of `mstv.transformer.flops`.
        peak_mib: most memory: of the accelerator, or resident of this process.
        shapes_left: shapes of plan steps that have not come yet; each is compiled anew.
    """

    steps: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    wait_seconds: float = 0.0
    samples: int = 0
    tokens: int = 0
    flops: int = 0
    peak_mib: float = 0.0
    shapes_left: int = 0


@dataclass
class Stop(Exception):
    """The parent wants no more."""


@dataclass
class Pace:
    """Takes commands: a number of steps to train, a path to save a checkpoint to, or None to stop.

    Attributes:
        connection: to who commands.
        runtime: of the run.
        module: that is trained.
        loader: of its batches; it knows how long they were waited for.
        checkpoint_seconds: the recipe's time from one checkpoint to the next.
    """

    connection: Connection
    runtime: Runtime
    module: Any = None
    loader: Any = None
    checkpoint_seconds: float = 0.0
    _left: int = 0
    _round: Round = field(default_factory=Round)
    _began: tuple[float, float] = (0.0, 0.0)
    _waited: float = 0.0
    _shapes: set[TrainingStep] = field(default_factory=set)

    def wait_for_steps(self, save: Any) -> None:
        """Stand still until told to train.

        Args:
            save: writes a checkpoint to a path.
        """
        while not isinstance(command := self.connection.recv(), int):
            if command is None:
                raise Stop
            synchronise(self.runtime)
            began = time.perf_counter()
            save(command)
            self.connection.send((time.perf_counter() - began, self.checkpoint_seconds))
        reset_peak(self.runtime)
        self._left, self._round = command, Round()
        synchronise(self.runtime)
        self._waited = self.loader.wait_seconds
        self._began = time.perf_counter(), time.process_time()

    def step_done(self, batch: Any, save: Any) -> None:
        """Count a training step, and stand still after the last one.

        Raises:
            Stop: there is no next one.
        """
        now = self._round
        now.steps += 1
        now.samples += self.module.num_samples(batch)
        now.tokens += self.module.num_tokens(batch)
        now.flops += self.module.training_flops(batch)
        if isinstance(batch, StepBatch):
            self._shapes.add(self.module.training_steps[batch.step])
        self._left -= 1
        if self._left:
            return
        synchronise(self.runtime)
        now.wait_seconds = self.loader.wait_seconds - self._waited
        now.seconds, now.cpu_seconds = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        now.peak_mib = peak_mib(self.runtime)
        now.shapes_left = len(set(getattr(self.module, "training_steps", ())) - self._shapes)
        self.connection.send(now)
        self.wait_for_steps(save)


class PaceCallback(Callback):
    """Paces the framework's run; last of all callbacks."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the first command."""
        self.pace.loader = trainer.train_dataloader
        self.pace.wait_for_steps(trainer.save_checkpoint)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step."""
        self.pace.step_done(batch, trainer.save_checkpoint)


def train_framework(cli: FitCLI, pace: Pace) -> None:
    """What `mstv fit` does, its callbacks, loggers and progress bar included."""
    trainer = cli.trainer
    # They belong to validation.
    trainer.callbacks = [one for one in trainer.callbacks if not isinstance(one, LongRollout | ReconstructionGrid)]
    trainer.callbacks.append(PaceCallback(pace))
    trainer.fit(cli.model, datamodule=cli.datamodule)


def train_plain(cli: FitCLI, pace: Pace) -> None:
    """The same batches, loss, clipping, optimiser, schedule and averaged weights in a loop, and nothing else."""
    module, data, runtime = cli.model.to(pace.runtime.device).train(), cli.datamodule, pace.runtime
    clip = cli.trainer.gradient_clip_val
    optimiser, schedule = module.optimiser.build(module)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    # In the framework's order, so that not even rounding differs.
    clipped = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    decay = next(callback.decay for callback in cli.trainer.callbacks if isinstance(callback, EMA))
    averaged = copy.deepcopy(parameters)

    def save(path: Path) -> None:
        state = {"model": module.state_dict(), "averaged": averaged, "optimiser": optimiser.state_dict()}
        torch.save(state | {"schedule": schedule.state_dict(), "data": data.state_dict()}, path)

    data.setup("fit")
    pace.loader, step = data.train_dataloader(), 0
    pace.wait_for_steps(save)
    try:
        while True:
            for loaded in pace.loader:
                batch = data.on_after_batch_transfer(on_device(loaded, runtime.device), 0)
                with runtime.autocast():
                    loss = module.training_step(batch, step)["loss"]
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(clipped, clip)
                optimiser.step()
                schedule.step()
                with torch.no_grad():
                    kept = min(decay, (1 + step) / (10 + step)) if step else 0.0
                    torch._foreach_lerp_(averaged, parameters, 1 - kept)
                step += 1
                pace.step_done(batch, save)
    finally:
        data.teardown("fit")


def on_device(batch: Any, device: torch.device) -> Any:
    """The batch with its tensors on `device`."""
    moved = {
        name: value.to(device, non_blocking=True)
        for name, value in vars(batch).items()
        if isinstance(value, torch.Tensor)
    }
    return replace(batch, **moved)


def modulate_per_token(module: Any) -> None:
    """Give every token a cell, and with it a condition, of its own: the work of the published code."""
    layouts: dict[StepLayout, StepLayout] = {}

    def token_layout(layout: StepLayout) -> StepLayout:
        if layout not in layouts:
            layouts[layout] = PerTokenLayout(
                layout.frames,
                layout.cell_level[layout.token_cell],
                layout.cell_frame[layout.token_cell],
                torch.arange(layout.num_tokens, device=layout.frames.device),
                layout.token_row,
                layout.token_column,
                layout.target_levels,
                layout.num_context_tokens,
                layout.num_context_tokens,
            )
        return layouts[layout]

    module.denoiser.token_layout = token_layout
    module.training_steps = tuple(
        TrainingStep(step.context_tokens, step.context_tokens, step.context_weights, *[step.target_tokens] * 2)
        for step in module.training_steps
    )


class PerTokenLayout(StepLayout):
    """As many cells as tokens."""

    def _cells(self, start: int, stop: int) -> TokenCells:
        # A broadcast, as for cells of one level: no gather of what is in order already.
        return TokenCells(torch.arange(stop - start, device=self.frames.device), 1)


def attention_kernel(name: str) -> contextlib.AbstractContextManager[None]:
    """PyTorch's choice of attention kernels, or one of them."""
    if name == "default":
        return contextlib.nullcontext()
    return sdpa_kernel(SDPBackend.CUDNN_ATTENTION if name == "cudnn" else SDPBackend.FLASH_ATTENTION)


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    """A terminal on stderr that nobody reads, so that the progress bar draws what it does for a user."""
    master, slave = os.openpty()
    stderr = os.dup(2)
    os.dup2(slave, 2)

    def read() -> None:
        with contextlib.suppress(OSError):
            while os.read(master, 1 << 16):
                pass

    threading.Thread(target=read, daemon=True).start()
    try:
        yield
    finally:
        os.dup2(stderr, 2)


def work(run: Run, folder: Path, out: Path, device: str, connection: Connection) -> None:
    """What the process does: builds the run as `mstv fit` does, and trains it at the pace of `connection`.

    Args:
        run: what to train.
        folder: of the sets.
        out: the run directory.
        device: such as `cpu` or `cuda:0`.
        connection: to the parent; it is sent a `Round` after as many steps as it asked for, or a traceback.
    """
    os.environ.setdefault("TERM", "xterm-256color")
    os.environ["COLUMNS"] = "160"
    pace = Pace(connection, Runtime(torch.device(device), run.precision == "bf16"))
    try:
        with terminal(), attention_kernel(run.kernel):
            cli = prepared(run, folder, out, pace)
            (train_framework if run.loop == "framework" else train_plain)(cli, pace)
    except Stop:
        pass
    except Exception:
        connection.send(traceback.format_exc())


def prepared(run: Run, folder: Path, out: Path, pace: Pace) -> FitCLI:
    """Model, data and trainer as `mstv fit` builds them, ready to be trained at `pace`."""
    quiet_lightning()
    torch.set_float32_matmul_precision("high")
    cli = FitCLI(run.arguments(folder, out, "gpu" if pace.runtime.device.type == "cuda" else "cpu"))
    if run.modulation == "per_token":
        modulate_per_token(cli.model)
    if run.compiled:
        cli.model.compile_blocks()
    pace.module = cli.model
    # Checkpoints are timed apart.
    rolling = next(one for one in cli.trainer.callbacks if isinstance(one, RollingCheckpoint))
    pace.checkpoint_seconds, rolling.every_seconds = rolling.every_seconds, math.inf
    return cli
