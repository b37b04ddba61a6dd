"""The loader gives every batch once and in order, and goes on exactly where a checkpoint stopped."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor

from mstv.data.batch_layout import BatchLayout
from mstv.data.loader import BatchStream, ResumableDataModule, ResumableLoader, StreamLoader, rank_and_world_size
from mstv.errors import UserError

NUM_BATCHES = 5

pytestmark = [
    # torch's advice where the machine has fewer cores than a test has workers
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    # Lightning 2.6 on torch 2.13
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
]


@dataclass
class Marked:
    """A batch that says where it stands."""

    values: Tensor

    def pin_memory(self) -> "Marked":
        return Marked(self.values.pin_memory())


class Marks:
    """A stream whose batches are (epoch, batch), with an accumulated part as a reader of files has it."""

    num_batches = NUM_BATCHES

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at = fail_at

    def batches(self, epoch: int, start: int, num_workers: int) -> Iterator[Marked]:
        for batch in range(start, self.num_batches, num_workers):
            if batch == self.fail_at:
                raise UserError(f"batch {batch} is bad: mend it")
            yield Marked(torch.tensor([epoch, batch]))


def marks(batches: object) -> list[tuple[int, int]]:
    return [tuple(batch.values.tolist()) for batch in batches]  # type: ignore[attr-defined]


def endless(first: int, count: int) -> list[tuple[int, int]]:
    return [divmod(index, NUM_BATCHES) for index in range(first, first + count)]


@pytest.mark.parametrize("num_workers", [0, 1, 2, 3])
def test_every_batch_comes_once_in_order(num_workers: int) -> None:
    loader = ResumableLoader(Marks(), num_workers)
    assert marks(loader) + marks(loader) + marks(loader) == endless(0, 3 * NUM_BATCHES)
    loader.close()


@pytest.mark.parametrize("num_workers", [0, 1, 2, 8])
@pytest.mark.parametrize("position", [0, 2, 4, 5, 8])
def test_a_loader_goes_on_where_another_stopped(num_workers: int, position: int) -> None:
    first = ResumableLoader(Marks())
    iterator = iter(first)
    for index in range(position):
        if index == NUM_BATCHES:
            iterator = iter(first)
        next(iterator)
    state = first.state_dict()
    assert all(type(value) is int for value in state.values())
    second = ResumableLoader(Marks(), num_workers)
    second.load_state_dict(state)
    assert len(second) == NUM_BATCHES
    assert marks(second) + marks(second) == endless(position, 2 * NUM_BATCHES)
    second.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_iteration_that_was_left_early_is_gone_on_with(num_workers: int) -> None:
    loader = ResumableLoader(Marks(), num_workers)
    seen = []
    for _ in range(5):
        iter(loader)  # as Lightning does, without taking a batch
        seen += marks(batch for batch, _ in zip(loader, range(3), strict=False))
    # zip takes a fourth batch before it sees that the range is at its end.
    assert seen == [endless(0, 20)[index] for index in range(20) if index % 4 < 3]
    loader.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_validation_begins_anew_every_time(num_workers: int) -> None:
    loader = StreamLoader(Marks(), num_workers)
    next(iter(loader))
    assert marks(loader) == marks(loader) == endless(0, NUM_BATCHES)
    assert not hasattr(loader, "state_dict")
    loader.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_users_error_leaves_a_worker_in_its_own_words(num_workers: int) -> None:
    with pytest.raises(UserError, match=r"^batch 3 is bad: mend it$"):
        marks(StreamLoader(Marks(fail_at=3), num_workers))


def test_unknown_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="num_workers"):
        ResumableLoader(Marks(), -1)


def test_a_dataclass_survives_the_transfer() -> None:
    moved = move_data_to_device(Marked(torch.tensor([1, 2])), torch.device("cpu"))
    assert isinstance(moved, Marked) and moved.values.tolist() == [1, 2]


class MarksData(ResumableDataModule):
    def __init__(self, num_workers: int) -> None:
        super().__init__(batch_size=1, num_workers=num_workers, seed=0)

    def check_layout(self, before: BatchLayout, now: BatchLayout) -> None:
        if before != now:
            raise UserError(f"{before} is not {now}")

    def training_stream(self, rank: int, world_size: int) -> BatchStream:
        return Marks()

    def validation_stream(self, rank: int, world_size: int) -> BatchStream:
        return Marks()


def test_rank_comes_from_torch_distributed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "6")
    assert rank_and_world_size() == (0, 1)
    asked = []
    data = MarksData(0)
    monkeypatch.setattr(data, "training_stream", lambda *ranks: asked.append(ranks) or Marks())
    monkeypatch.setattr(data, "validation_stream", lambda *ranks: asked.append(ranks) or Marks())
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    data.train_dataloader()
    data.val_dataloader()
    assert asked == [(2, 3), (2, 3)]


class Watcher(lightning.LightningModule):
    """Notes the batches that it sees and saves a checkpoint in one hook, after `save_after` batches."""

    def __init__(self, path: Path | None = None, hook: str = "", save_after: int = 0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, int]] = []
        self.validated: list[tuple[int, int]] = []
        self.path, self.hook, self.save_after = path, hook, save_after

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: Marked) -> Tensor:
        self.seen += marks([batch])
        return self.weight * batch.values.sum()

    def validation_step(self, batch: Marked) -> None:
        self.validated += marks([batch])

    def _save(self, hook: str) -> None:
        if hook == self.hook and len(self.seen) == self.save_after and self.path is not None:
            self.trainer.save_checkpoint(self.path)

    def on_train_batch_end(self, *_: object) -> None:
        self._save("batch")

    def on_validation_end(self) -> None:
        self._save("validation")

    def on_train_epoch_end(self) -> None:
        self._save("epoch")


def fit(module: Watcher, num_workers: int, checkpoint: Path | None = None, **arguments: object) -> MarksData:
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,  # type: ignore[arg-type]
    )
    data = MarksData(num_workers)
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    return data


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    ("hook", "save_after"),
    [("batch", 3), ("batch", 5), ("batch", 8), ("validation", 4), ("validation", 5), ("epoch", 5), ("epoch", 10)],
)
@pytest.mark.parametrize("length", [{"max_epochs": 4}, {"max_steps": 18, "max_epochs": -1}])
def test_lightning_resumes_exactly(
    tmp_path: Path, num_workers: int, hook: str, save_after: int, length: dict[str, int]
) -> None:
    every = 4 if hook == "validation" and save_after == 4 else 5
    arguments = {**length, "val_check_interval": every, "num_sanity_val_steps": 1}
    path = tmp_path / "saved.ckpt"
    whole = Watcher(path, hook, save_after)
    fit(whole, num_workers, **arguments)
    assert whole.seen == endless(0, length.get("max_steps", 4 * NUM_BATCHES))

    rest = Watcher()
    data = fit(rest, num_workers, path, **arguments)
    assert rest.seen == whole.seen[save_after:]
    assert set(whole.validated) == set(endless(0, NUM_BATCHES))
    position = dict(zip(("epoch", "batch"), divmod(len(whole.seen), NUM_BATCHES), strict=True))
    layout = {"ranks": 1, "workers": max(1, num_workers), "batch_size": 1, "accumulation": 1}
    assert data.state_dict() == {**position, "layout": layout, "tokenizer": None}


@pytest.mark.parametrize("save_after", [2, 6])
def test_limited_epochs_go_through_the_data_and_resume(tmp_path: Path, save_after: int) -> None:
    arguments = {"max_epochs": 4, "limit_train_batches": 3, "limit_val_batches": 0}
    path = tmp_path / "saved.ckpt"
    whole, rest = Watcher(path, "batch", save_after), Watcher()
    fit(whole, 2, **arguments)
    fit(rest, 2, path, **arguments)
    assert whole.seen == endless(0, 12)
    assert rest.seen == endless(save_after, 12 - save_after)


def test_reloaded_loaders_go_on() -> None:
    module = Watcher()
    fit(module, 0, max_epochs=3, reload_dataloaders_every_n_epochs=1, limit_val_batches=0)
    assert module.seen == endless(0, 15)


def test_another_layout_is_asked_about_and_an_old_checkpoint_is_not(tmp_path: Path) -> None:
    path = tmp_path / "saved.ckpt"
    fit(Watcher(path, "batch", 2), 0, max_epochs=1)
    with pytest.raises(UserError, match=r"accumulate_grad_batches 1 = 1 samples a step is not .* 2 = 2 samples"):
        fit(Watcher(), 0, path, max_epochs=1, accumulate_grad_batches=2)
    old = torch.load(path, weights_only=True)
    del old["MarksData"]["layout"]
    torch.save(old, path)
    module = Watcher()
    fit(module, 0, path, max_epochs=1, accumulate_grad_batches=2)
    assert module.seen == endless(2, 3)


def test_workers_outlive_the_signals_of_a_scheduler_and_end_with_the_training_process() -> None:
    loader = StreamLoader(Marks(), num_workers=1)
    batches = iter(loader)
    next(batches)
    worker = loader._loader._iterator._workers[0]
    for number in (signal.SIGTERM, signal.SIGUSR1):
        # From a process that is not the worker's parent, as a scheduler's.
        subprocess.run([sys.executable, "-c", f"import os; os.kill({worker.pid}, {int(number)})"], check=True)
    assert marks(batches) == endless(1, NUM_BATCHES - 1)
    assert worker.is_alive()
    worker.terminate()
    worker.join(10)
    assert not worker.is_alive()
