"""Loaders that make every batch exactly once and in order, with any number of workers, also after a resume."""

import os
import signal
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from lightning import LightningDataModule
from torch import distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from mstv.data.batch_layout import BatchLayout
from mstv.errors import UserError

Position = tuple[int, int]
"""(epoch, batch in the epoch): a place in the endless sequence of a stream's batches."""


@runtime_checkable
class BatchStream(Protocol):
    """Makes the batches of this rank; each worker process holds a copy."""

    @property
    def num_batches(self) -> int:
        """Batches of one epoch, equal for all epochs and all ranks."""

    def batches(self, epoch: int, start: int, num_workers: int) -> Iterator[Any]:
        """Batches start, start + num_workers, ... of `epoch`; they depend on nothing that was made before.

        The batches j of equal j % num_workers are asked of one call, so that it may read a file from front to back.
        """


@dataclass
class _Failure:
    """A user's error on its way out of a worker; DataLoader would bury its message in a traceback."""

    message: str


class _Feed(Dataset):
    """Batch of a position; goes on with the open stream where the positions follow each other.

    A map-style dataset: DataLoader deals its positions out round robin, so a worker is asked for positions
    `num_workers` apart wherever the sequence begins, and no role has to be turned on resume.
    """

    def __init__(self, stream: BatchStream, num_workers: int) -> None:
        self._stream = stream
        self._num_workers = num_workers
        self._batches: Iterator[Any] = iter(())
        self._next: Position | None = None

    def __getitem__(self, position: Position) -> Any:
        epoch, batch = position
        try:
            if position != self._next:
                self._batches = self._stream.batches(epoch, batch, self._num_workers)
            self._next = (epoch, batch + self._num_workers)
            return next(self._batches)
        except UserError as error:
            self._next = None
            return _Failure(str(error))


class _Positions(Sampler[Position]):
    """One epoch's number of positions from (epoch, batch) on, over the end of the epoch where need be."""

    def __init__(self, num_batches: int) -> None:
        self.num_batches = num_batches
        self.epoch, self.batch = 0, 0

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Position]:
        first = self.epoch * self.num_batches + self.batch
        yield from (divmod(index, self.num_batches) for index in range(first, first + self.num_batches))

    def move_to(self, epoch: int, batch: int) -> None:
        """Begin at `batch` of `epoch`; the batch past the last one is the first of the next epoch."""
        self.epoch, self.batch = (epoch + 1, 0) if batch >= self.num_batches else (epoch, batch)


class StreamLoader:
    """The first epoch of a stream, the same at every iteration: the loader of validation.

    Not a DataLoader, though it runs one: Lightning would replace the sampler of a map-style one by its own, and warns
    of an iterable one with a length. Yet without a length it prefetches a batch, which a resume then skips.

    Args:
        stream: makes the batches; it must be picklable.
        num_workers: processes that make them; 0 makes them here.
        start_method: of the processes, such as `spawn`; None is the platform's own.
    """

    def __init__(self, stream: BatchStream, num_workers: int = 0, start_method: str | None = None) -> None:
        if num_workers < 0:
            raise UserError(f"num_workers must not be negative, got {num_workers}")
        self._positions = _Positions(stream.num_batches)
        self._loader = DataLoader(
            _Feed(stream, max(1, num_workers)),
            batch_size=None,
            sampler=self._positions,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context=start_method if num_workers else None,
            worker_init_fn=_outlive_signals if num_workers else None,
        )

    def __len__(self) -> int:
        """Batches of an epoch, wherever the loader stands."""
        return self._positions.num_batches

    def __iter__(self) -> Iterator[Any]:
        """Batches in order. Nothing starts before the first is asked for: Lightning makes iterators that it drops.

        Raises:
            UserError: as the stream does, whatever process it runs in.
        """
        for batch in self._loader:
            if isinstance(batch, _Failure):
                raise UserError(batch.message)
            yield batch

    def close(self) -> None:
        """Stop the worker processes; the next iteration starts new ones."""
        self._loader._iterator = None


def _outlive_signals(worker: int) -> None:
    """Leave a scheduler's signals to the process that trains: it wants to save, and needs its workers until then.

    They reach all processes of a job. Only the training process itself ends a worker by SIGTERM. A thread waits for
    them, since a handler is not told who has sent a signal.
    """
    numbers = {signal.SIGTERM, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def wait() -> None:
        while True:
            found = signal.sigwaitinfo(numbers)
            if found.si_signo == signal.SIGTERM and found.si_pid == os.getppid():
                os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


class ResumableLoader(StreamLoader):
    """An endless sequence of a stream's batches, epoch after epoch; an iteration gives the next `len(self)` of them.

    So the position is all the state there is: an iteration begins where the last one stopped, be it at the end of an
    epoch, at `limit_train_batches`, or in another process. Another number of workers or ranks is another sequence,
    unless the stream says otherwise.

    Attributes:
        wait_seconds: how long all batches together were waited for.
    """

    wait_seconds = 0.0

    def __iter__(self) -> Iterator[Any]:
        """The next batches; see `StreamLoader`."""
        batches, end = super().__iter__(), object()
        while True:
            began = time.perf_counter()
            batch = next(batches, end)
            self.wait_seconds += time.perf_counter() - began
            if batch is end:
                return
            # Before the batch is used: a checkpoint taken while it is in work counts it, as Lightning's progress does.
            self._positions.move_to(self._positions.epoch, self._positions.batch + 1)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Position of the next batch: epoch, and batch in it; plain integers."""
        return {"epoch": self._positions.epoch, "batch": self._positions.batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a position; one beyond an epoch that has become shorter is the start of the next epoch."""
        self._positions.move_to(state["epoch"], state["batch"])


class ResumableDataModule(LightningDataModule):
    """A data module of two streams whose place in training is part of Lightning's checkpoint.

    Lightning restores the state of a loader only if it resumes inside an epoch: after a checkpoint at the end of one,
    the order of the first epoch would come again. The state of a data module it restores always.

    Args:
        batch_size: samples of a training batch on one rank.
        num_workers: worker processes of each loader.
        seed: of all that is drawn.
    """

    def __init__(self, batch_size: int, num_workers: int, seed: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"batch_size must be positive, got {batch_size}")
        if num_workers < 0 or seed < 0:
            raise UserError(f"num_workers and seed must not be negative, got {num_workers} and {seed}")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._training: ResumableLoader | None = None
        self._validation: StreamLoader | None = None
        self._state: dict[str, int] = {}

    def __str__(self) -> str:
        """The class's name: Lightning's text makes loaders, and jsonargparse asks for it."""
        return type(self).__name__

    @abstractmethod
    def training_stream(self, rank: int, world_size: int) -> BatchStream:
        """The batches that rank `rank` of `world_size` trains on."""

    @abstractmethod
    def validation_stream(self, rank: int, world_size: int) -> BatchStream:
        """The batches that rank `rank` of `world_size` validates on."""

    @abstractmethod
    def check_layout(self, before: BatchLayout, now: BatchLayout) -> None:
        """Refuse to go on where the sequence of samples would not.

        Raises:
            UserError: names both layouts and what to set.
        """

    @property
    def tokenizer_sha256(self) -> str | None:
        """Of the weights that made the data; None where they are frames. A model knows one tokenizer's tokens alone."""
        return None

    @property
    def layout(self) -> BatchLayout:
        """How samples are shared out in the trainer that this is attached to."""
        accumulation = self.trainer.accumulate_grad_batches if self.trainer else 1
        return BatchLayout(rank_and_world_size()[1], max(1, self.num_workers), self.batch_size, accumulation)

    def setup(self, stage: str) -> None:
        """Forget the position of an earlier fit; Lightning restores one after this."""
        if stage == "fit":
            self._training, self._state = None, {}

    def train_dataloader(self) -> ResumableLoader:
        """Loader of training, where the checkpoint or the loader before it stopped."""
        state = self._position()
        self._training = ResumableLoader(self.training_stream(*rank_and_world_size()), self.num_workers)
        if state:
            self._training.load_state_dict(state)
        return self._training

    def val_dataloader(self) -> StreamLoader:
        """Loader of validation, the same batches every time."""
        self._validation = StreamLoader(self.validation_stream(*rank_and_world_size()), self.num_workers)
        return self._validation

    def state_dict(self) -> dict[str, Any]:
        """Position of the training loader, and how samples are shared out; empty before there is a loader."""
        position = self._position()
        return {**position, "layout": asdict(self.layout), "tokenizer": self.tokenizer_sha256} if position else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Position that the next training loader begins at.

        Raises:
            UserError: see `check_layout`; or the data were made by another tokenizer.
        """
        self._training, self._state = None, {name: state_dict[name] for name in ("epoch", "batch")}
        # Runs of before these were kept have none.
        if "layout" in state_dict:
            self.check_layout(BatchLayout(**state_dict["layout"]), self.layout)
        now = self.tokenizer_sha256
        before = state_dict.get("tokenizer", now)
        if before != now:
            raise UserError(
                f"data: the run was trained on latents of tokenizer {str(before)[:12]}, these are of {str(now)[:12]}: "
                "give the folder of the former as --data.folder, or start a new run"
            )

    def _position(self) -> dict[str, int]:
        return self._training.state_dict() if self._training is not None else self._state

    def teardown(self, stage: str) -> None:
        """Stop the worker processes."""
        for loader in (self._training, self._validation):
            if loader is not None:
                loader.close()


def rank_and_world_size() -> tuple[int, int]:
    """This process's rank and the number of ranks, as torch.distributed has them now; (0, 1) without it."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
