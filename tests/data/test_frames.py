"""Frames: each at most once an epoch, divided among ranks and workers, and skipped without decoding on resume."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor

from mstv.data import frames as frames_module
from mstv.data.frames import EpisodeBatch, FrameBatch, FramesDataModule, FrameStream
from mstv.data.schema import MANIFEST, Manifest
from mstv.errors import UserError
from mstv.levels import Levels
from tests.data.conftest import LEVELS, code_of, write_frame_set

pytestmark = [
    # torch's advice where the machine has fewer cores than a test has workers
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    # Lightning 2.6 on torch 2.13
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
]

Codes = list[list[int]]


def data_of(folder: Path, num_workers: int = 0, **arguments: int | None) -> FramesDataModule:
    options = {"batch_size": 4, "frames_per_chunk": 3, "shuffle_chunks": 4, **arguments}
    data = FramesDataModule(folder, LEVELS, num_workers=num_workers, **options)  # type: ignore[arg-type]
    data.setup("fit")
    return data


def codes(batches: object) -> Codes:
    """The number on every picture of every batch."""
    return [[code_of(image.numpy()) for image in batch.images] for batch in batches]  # type: ignore[attr-defined]


def epoch_of(stream: FrameStream, epoch: int = 0) -> Codes:
    workers = stream.num_workers
    made = [codes(stream.batches(epoch, worker, workers)) for worker in range(workers)]
    return [made[index % workers][index // workers] for index in range(stream.num_batches)]


@pytest.mark.parametrize(("world_size", "num_workers"), [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_frames_come_once_and_ranks_are_disjoint(frame_set: Path, world_size: int, num_workers: int) -> None:
    data = data_of(frame_set, num_workers)
    epochs = []
    for epoch in range(3):
        streams = [data.training_stream(rank, world_size) for rank in range(world_size)]
        assert len({stream.num_batches for stream in streams}) == 1
        made = [epoch_of(stream, epoch) for stream in streams]
        assert {len(of_rank) for of_rank in made} == {streams[0].num_batches}
        counts = Counter(code for of_rank in made for batch in of_rank for code in batch)
        assert max(counts.values()) == 1
        # Chunks of 8, 8, 4 and 8, 8 frames give 3 each; what is left over fills no batch of its worker.
        total = 5 * 15 + 9
        assert total - len(counts) < 4 * world_size * num_workers + 15
        assert max(Counter(code // 36 * 36 + min(code % 36, 20) // 8 for code in counts).values()) <= 9
        epochs.append(made)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[1] == [epoch_of(data.training_stream(rank, world_size), 1) for rank in range(world_size)]


def test_all_frames_come_where_all_are_asked_for(frame_set: Path) -> None:
    stream = data_of(frame_set, frames_per_chunk=8, batch_size=1).training_stream(0, 1)
    assert sorted(code for batch in epoch_of(stream) for code in batch) == list(range(200))


def test_a_chunk_gives_distinct_frames_and_batches_mix_chunks(frame_set: Path) -> None:
    batches = epoch_of(data_of(frame_set, batch_size=12, shuffle_chunks=12).training_stream(0, 1))
    episodes = [len({code // 36 for code in batch}) for batch in batches]
    assert np.mean(episodes) > 2
    narrow = epoch_of(data_of(frame_set, batch_size=12, shuffle_chunks=1).training_stream(0, 1))
    assert np.mean([len({code // 36 for code in batch}) for batch in narrow]) < np.mean(episodes)


def test_another_seed_is_another_order(frame_set: Path) -> None:
    assert epoch_of(data_of(frame_set, seed=1).training_stream(0, 1)) != epoch_of(
        data_of(frame_set).training_stream(0, 1)
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_loader_resumes_anywhere(frame_set: Path, num_workers: int) -> None:
    whole = data_of(frame_set, num_workers)
    loader = whole.train_dataloader()
    expected = codes(loader) + codes(loader) + codes(loader)
    assert len(expected) == 3 * len(loader)
    for position in (1, 4, len(loader), len(loader) + 3):
        rest = data_of(frame_set, num_workers)
        rest.load_state_dict(dict(zip(("epoch", "batch"), divmod(position, len(loader)), strict=True)))
        assert codes(rest.train_dataloader()) == expected[position : position + len(loader)]
        rest.teardown("fit")
    whole.teardown("fit")


def test_a_resume_decodes_only_what_comes_after(frame_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = frames_module.decode_frames
    monkeypatch.setattr(
        frames_module, "decode_frames", lambda *arguments: decoded.append(len(arguments[1])) or decode(*arguments)
    )
    stream = data_of(frame_set).training_stream(0, 1)
    # A window of four chunks holds at most eight frames that are decoded and not yet used.
    for start in (0, stream.num_batches // 2, stream.num_batches - 1):
        decoded.clear()
        left = 4 * (stream.num_batches - start)
        assert len(codes(stream.batches(0, start, 1))) * 4 == left
        assert left <= sum(decoded) <= left + 8


@pytest.mark.parametrize("num_workers", [0, 3])
@pytest.mark.parametrize("world_size", [1, 2])
def test_validation_takes_whole_episodes_of_every_rank(frame_set: Path, num_workers: int, world_size: int) -> None:
    data = data_of(frame_set, num_workers, validation_frames=None)
    streams = [data.validation_stream(rank, world_size) for rank in range(world_size)]
    assert [stream.num_batches for stream in streams] == [3 // world_size + 3 % world_size] * world_size
    made = [list(stream.batches(0, 0, 1)) for stream in streams]
    seen = {batch.key: codes([batch])[0] for of_rank in made for batch in of_rank}
    assert seen == {"seen-0": [*range(20)], "seen-1": [*range(100, 111)], "seen-2": [*range(200, 216)]}
    loader = data.val_dataloader()
    assert [batch.key for batch in loader] == [batch.key for batch in loader] == ["seen-0", "seen-1", "seen-2"]
    data.teardown("fit")


def test_validation_can_be_limited(frame_set: Path) -> None:
    data = data_of(frame_set, validation_frames=5, validation_episodes=2)
    batches = list(data.val_dataloader())
    assert [batch.key for batch in batches] == ["seen-0", "seen-1"]
    assert codes(batches) == [[0, 4, 8, 12, 16], [100, 102, 104, 106, 108]]


class Watcher(lightning.LightningModule):
    """Notes what reaches a step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[object] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: FrameBatch) -> Tensor:
        self.seen.append(batch)
        loss = self.weight * batch.images.mean()
        self.log("loss", loss, on_epoch=True, batch_size=len(batch.images))
        return loss

    def validation_step(self, batch: EpisodeBatch) -> None:
        self.seen.append(batch)


def test_steps_get_images_in_zero_to_one(frame_set: Path) -> None:
    module = Watcher()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data_of(frame_set, 2))
    assert {type(batch) for batch in module.seen} == {FrameBatch, EpisodeBatch}
    for batch in module.seen:
        images = batch.images  # type: ignore[attr-defined]
        assert images.dtype == torch.float32 and images.shape[1:] == (3, 16, 32)
        assert images.min() < 0.1 and 0.9 < images.max() <= 1


def test_too_few_shards_are_named(frame_set: Path) -> None:
    data = data_of(frame_set, 4)
    with pytest.raises(UserError, match=r"split train has 6 shards for 2 ranks x 4 workers: .*--episodes-per-shard"):
        data.training_stream(0, 2)


def test_too_few_frames_are_named(frame_set: Path) -> None:
    with pytest.raises(UserError, match=r"a batch has 500 frames, .* draws only 84 .* smaller batch_size"):
        data_of(frame_set, batch_size=500).train_dataloader()


def test_another_image_size_is_named(frame_set: Path) -> None:
    data = FramesDataModule(frame_set, Levels((32, 32), (2, 2), 3))
    with pytest.raises(UserError, match=r"image_size is \(32, 32\), but .* \(16, 32\): set image_size"):
        data.setup("fit")


@pytest.mark.parametrize("name", ["batch_size", "frames_per_chunk", "shuffle_chunks", "validation_frames"])
def test_numbers_must_be_positive(frame_set: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} must be positive, got 0"):
        data_of(frame_set, **{name: 0})


def test_a_missing_folder_and_an_empty_split_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        data_of(tmp_path / "nowhere")
    write_frame_set(tmp_path, {"train-000000.tar": {"one": range(9)}})
    with pytest.raises(UserError, match=r"split validation is empty: .* 1 worlds: .*mstv-data shard"):
        data_of(tmp_path).val_dataloader()


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", r"train-000000\.tar: cannot be read"),
        ("gone", r"train-000000\.tar: cannot be read"),
        ("video", r"train-000000\.tar: member one-00000\.mp4: not a readable video"),
        ("manifest", r"train-000000\.tar: member one-0000[12]\.mp4 is missing"),
    ],
)
def test_damage_names_tar_and_member(tmp_path: Path, num_workers: int, damage: str, message: str) -> None:
    write_frame_set(tmp_path, {"train-000000.tar": {"one": range(8)}})
    tar = tmp_path / "train-000000.tar"
    if damage == "cut":
        tar.write_bytes(tar.read_bytes()[:1500])
    elif damage == "gone":
        tar.unlink()
    elif damage == "video":
        content = bytearray(tar.read_bytes())
        place = content.index(b"moov")
        content[place : place + 400] = bytes(400)
        tar.write_bytes(content)
    else:
        manifest = Manifest.read(tmp_path / MANIFEST)
        longer = manifest.shards[0].model_copy(update={"episodes": {"one": 20}})
        manifest.model_copy(update={"shards": (longer,)}).write(tmp_path / MANIFEST)
    data = data_of(tmp_path, num_workers, batch_size=1)
    with pytest.raises(UserError, match=message) as raised:
        codes(data.train_dataloader())
    assert "\n" not in str(raised.value)
    data.teardown("fit")


def test_sums_of_shards_are_dealt_out_alike_every_epoch(frame_set: Path) -> None:
    stream = data_of(frame_set, 2).training_stream(0, 2)
    sums = [sorted(sum(shard.num_frames for shard in group) for group in stream.deal(epoch)) for epoch in range(8)]
    assert all(one == other for one, other in pairwise(sums))
    assert len({tuple(shard.name for shard in stream.deal(epoch)[0]) for epoch in range(8)}) > 1
