"""Latents: only the frames of a step are read, exactly, and a batch is a function of (seed, index) alone."""

import os
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mstv.data import latent_shards
from mstv.data.latent_shards import LatentStore, write_latent_shard
from mstv.data.latents import LatentsDataModule, StepBatch
from mstv.data.loader import StreamLoader
from mstv.data.schema import MANIFEST, Manifest
from mstv.data.shards import index_members
from mstv.errors import UserError
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.full_resolution import FullResolution
from mstv.rollout.layout import gather_tokens
from tests.data.conftest import CHANNELS, LEVELS, LatentSet, latent_sample, write_latent_set

pytestmark = [
    # torch's advice where the machine has fewer cores than a test has workers
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    # Lightning 2.6 on torch 2.13
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
]

PLAN = CoarseToFine([1, 4, 12], extra_context_tokens=32)


def data_of(folder: Path, num_workers: int = 0, **arguments: int) -> LatentsDataModule:
    options = {"batch_size": 3, "epoch_batches": 6, "validation_batches": 7, **arguments}
    data = LatentsDataModule(folder, PLAN, LEVELS, num_workers=num_workers, **options)
    data.setup("fit")
    return data


def assert_equal(one: StepBatch, other: StepBatch) -> None:
    for name in ("step", "index", "keys", "starts"):
        assert getattr(one, name) == getattr(other, name)
    assert one.tokens.dtype == other.tokens.dtype and torch.equal(one.tokens, other.tokens)
    assert (one.actions is None) == (other.actions is None)
    assert one.actions is None or torch.equal(one.actions, other.actions)


def check_against_whole_episodes(batch: StepBatch, data: LatentsDataModule, latent_set: LatentSet) -> None:
    """A batch is what `gather_tokens` takes from the samples that were written."""
    step = data.plan.steps[batch.step]
    for sample, (key, start) in enumerate(zip(batch.keys, batch.starts, strict=True)):
        written = latent_set[1][key]
        assert 0 <= start <= written.record.num_frames - data.plan.num_frames
        whole = [torch.from_numpy(level)[None] for level in written.levels]
        assert torch.equal(batch.tokens[sample], gather_tokens(whole, step.cells, start)[0])
        if written.actions is None:
            assert batch.actions is None
        else:
            assert batch.actions is not None
            expected = torch.from_numpy(written.actions)[[start + frame for frame in step.frames]]
            assert batch.actions.dtype == (torch.int64 if expected.dtype == torch.int16 else torch.float32)
            assert torch.equal(batch.actions[sample], expected.to(batch.actions.dtype))


@pytest.mark.parametrize("epoch", [0, 5])
def test_batches_are_what_gather_tokens_takes_from_whole_episodes(latent_set: LatentSet, epoch: int) -> None:
    data = data_of(latent_set[0], epoch_batches=20)
    for stream in (data.training_stream(0, 1), data.validation_stream(0, 1)):
        for batch in stream.batches(epoch, 0, 1):
            assert batch.tokens.dtype == torch.float16
            check_against_whole_episodes(batch, data, latent_set)


def test_only_episodes_that_hold_a_chunk_are_drawn_and_every_start_of_them(latent_set: LatentSet) -> None:
    data = data_of(latent_set[0], epoch_batches=150)
    assert data.plan.num_frames == 21
    crops = {
        crop
        for batch in data.training_stream(0, 1).batches(0, 0, 1)
        for crop in zip(batch.keys, batch.starts, strict=True)
    }
    assert crops == {("two", 0)} | {("one", start) for start in range(10)}


def test_steps_follow_their_probability(discrete_set: LatentSet) -> None:
    stream = data_of(discrete_set[0]).training_stream(0, 1)
    count = 20000
    seen = Counter(map(stream.step_of, range(count)))
    for index, probability in enumerate(stream.plan.step_probability):
        assert abs(seen[index] - count * probability) < 5 * np.sqrt(count * probability * (1 - probability))


def test_ranks_see_other_samples_of_the_same_step(latent_set: LatentSet) -> None:
    data = data_of(latent_set[0])
    ranks = [list(data.training_stream(rank, 2).batches(0, 0, 1)) for rank in range(2)]
    joint = list(data_of(latent_set[0], batch_size=6).training_stream(0, 1).batches(0, 0, 1))
    assert [batch.step for batch in ranks[0]] == [batch.step for batch in ranks[1]]
    for first, second, both in zip(*ranks, joint, strict=True):
        assert first.keys + second.keys == both.keys and first.starts + second.starts == both.starts
    assert any(first.starts != second.starts for first, second in zip(*ranks, strict=True))


@pytest.mark.parametrize("num_workers", [1, 2, 8])
def test_the_number_of_workers_changes_nothing(latent_set: LatentSet, num_workers: int) -> None:
    alone, data = data_of(latent_set[0]), data_of(latent_set[0], num_workers)
    expected_loader, loader = alone.train_dataloader(), data.train_dataloader()
    for _ in range(2):
        for expected, batch in zip(expected_loader, loader, strict=True):
            assert_equal(expected, batch)
    assert batch.index == 11
    data.teardown("fit")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**40), index=st.integers(0, 2**40), num_workers=st.integers(1, 8))
def test_a_batch_is_a_function_of_seed_and_index(
    discrete_set: LatentSet, seed: int, index: int, num_workers: int
) -> None:
    first, second = (replace(data_of(discrete_set[0]).training_stream(0, 1), seed=seed) for _ in range(2))
    batch = first.batch(index)
    assert_equal(batch, second.batch(index))
    assert_equal(batch, next(second.batches(*divmod(index, first.num_batches), num_workers)))


def test_another_process_makes_the_same_batches(discrete_set: LatentSet) -> None:
    stream = data_of(discrete_set[0]).training_stream(0, 1)
    stream.batch(0)  # so that a file is mapped when the stream is pickled
    loader = StreamLoader(stream, 1, start_method="spawn")
    for expected, batch in zip(stream.batches(0, 0, 1), loader, strict=True):
        assert_equal(expected, batch)
    loader.close()


def test_validation_is_the_same_every_time_and_goes_through_all_groups(latent_set: LatentSet) -> None:
    data = data_of(latent_set[0], 2)
    loader = data.val_dataloader()
    first, second = list(loader), list(loader)
    for one, other in zip(first, second, strict=True):
        assert_equal(one, other)
    groups = [data.plan.steps[batch.step].group for batch in first]
    assert Counter(groups) == {2: 3, 1: 2, 0: 2}
    fine = [batch.step for batch in first if data.plan.steps[batch.step].group == 0]
    assert fine == [index for index, step in enumerate(data.plan.steps) if step.group == 0][3::6]
    assert {key for batch in first for key in batch.keys} == {"three"}
    data.teardown("fit")


class Watcher(lightning.LightningModule):
    """Notes what reaches a step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[StepBatch] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: StepBatch) -> Tensor:
        self.seen.append(batch)
        loss = self.weight * batch.tokens.mean()
        self.log("loss", loss, on_epoch=True, batch_size=len(batch.keys))
        return loss

    def validation_step(self, batch: StepBatch) -> None:
        self.training_step(batch)


def test_steps_get_float32_tokens_of_the_float16_values(latent_set: LatentSet) -> None:
    module, data = Watcher(), data_of(latent_set[0], 1)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    assert len(module.seen) == 6 + 7
    data.setup("validate")
    for batch, stored in zip(module.seen, data.training_stream(0, 1).batches(0, 0, 1), strict=False):
        assert batch.tokens.dtype == torch.float32 and stored.tokens.dtype == torch.float16
        assert_equal(replace(batch, tokens=batch.tokens.half()), stored)


def test_a_plan_of_fewer_levels_reads_only_those(latent_set: LatentSet, monkeypatch: pytest.MonkeyPatch) -> None:
    read = LatentStore.read
    asked: list[tuple[int, int]] = []

    def note(store: LatentStore, key: str, level: int, frames: np.ndarray) -> np.ndarray:
        asked.append((level, len(frames)))
        return read(store, key, level, frames)

    monkeypatch.setattr(LatentStore, "read", note)
    data = LatentsDataModule(latent_set[0], FullResolution(6), LEVELS, 2, 0, validation_batches=1)
    data.setup("fit")
    batch = data.training_stream(0, 1).batch(0)
    assert batch.tokens.shape == (2, 6 * 128, CHANNELS)
    # The context and the targets are of one level and follow each other.
    assert asked == [(0, 6)] * 2


# -- the store ---------------------------------------------------------------------------------------------------------


def test_the_store_gives_back_what_was_written(latent_set: LatentSet) -> None:
    store = LatentStore(latent_set[0])
    assert store.keys("train") == ["one", "tiny", "two"]
    assert store.keys("validation") == ["three"] and store.keys("test") == []
    for key, sample in latent_set[1].items():
        assert store.num_frames(key) == sample.record.num_frames
        assert store.record(key) == sample.record
        assert np.array_equal(store.poses(key), sample.poses)
        if sample.actions is None:
            assert store.actions(key) is None
        else:
            assert store.actions(key).dtype == sample.actions.dtype and np.array_equal(
                store.actions(key), sample.actions
            )
        for level, latents in enumerate(sample.levels):
            for frames in (slice(None), slice(1, 4), slice(0, 5, 2), np.array([4, 0, 0, 2])):
                read = store.read(key, level, frames)
                assert read.dtype == np.float16 and np.array_equal(read, latents[frames])
                read[:] = 0  # a copy: the next reading does not see it
    with pytest.raises(IndexError):
        store.read("tiny", 0, np.array([5]))


def test_pickled_stores_hold_no_data_and_read_on(latent_set: LatentSet) -> None:
    store = LatentStore(latent_set[0])
    before = len(pickle.dumps(store))
    expected = store.read("one", 0)
    content = pickle.dumps(store)
    assert len(content) == before
    assert np.array_equal(pickle.loads(content).read("one", 0), expected)


def test_few_files_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_shards, "OPEN_TARS", 2)
    shards = {f"train-{index:06d}.tar": [latent_sample(f"e{index}", 4, seed=index)] for index in range(5)}
    folder, samples = write_latent_set(tmp_path, shards)
    store = LatentStore(folder)
    for _ in range(2):
        for key, sample in samples.items():
            assert np.array_equal(store.read(key, 1), sample.levels[1])
            files = [os.readlink(file) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
            assert 1 <= sum(str(tmp_path) in file for file in files) <= 2


def test_only_the_frames_asked_for_are_read(tmp_path: Path) -> None:
    folder, _ = write_latent_set(tmp_path, {"train-000000.tar": [latent_sample("one", 1000)]})
    store = LatentStore(folder)
    store.read("one", 0, slice(0, 1))
    before = bytes_read()
    for frames in (slice(300, 310), np.array([5, 6, 7, 400, 401, 999]), np.array([-1]), slice(40, 20), slice(9, 3, -2)):
        store.read("one", 0, frames)
    row = 8 * 16 * CHANNELS * 2
    assert (10 + 6 + 1 + 3) * row <= bytes_read() - before < 21 * row
    store.actions("one")
    before = bytes_read()
    store.actions("one")
    assert bytes_read() - before < row


def test_a_tar_that_becomes_shorter_is_named(discrete_set: LatentSet) -> None:
    folder, _ = discrete_set
    store = LatentStore(folder)
    store.read("one", 0, slice(0, 1))
    os.truncate(folder / "train-000000.tar", 3000)
    with pytest.raises(UserError, match=r"train-000000\.tar: has become shorter"):
        store.read("one", 0)


def bytes_read() -> int:
    """Bytes that this process has asked files for."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_shard_is_the_same_bytes_again(tmp_path: Path) -> None:
    one, other = (
        write_latent_shard(tmp_path / folder / "train-000000.tar", [latent_sample("a", 4), latent_sample("b", 7)])
        for folder in ("one", "other")
    )
    assert one == other and one.num_frames == 11 and one.episodes == {"a": 4, "b": 7}
    assert one.worlds == ("world-of-a", "world-of-b")


def test_samples_against_the_contract_are_not_written(tmp_path: Path) -> None:
    good = latent_sample("a", 4)
    for bad in (
        replace(good, levels=[good.levels[0], good.levels[1][:3]]),
        replace(good, record=good.record.model_copy(update={"num_frames": 3}), actions=good.actions[:3]),
    ):
        with pytest.raises(ValueError, match="must be float16 with"):
            write_latent_shard(tmp_path / "train-000000.tar", [bad])
    with pytest.raises(UserError, match=r"a\.actions\.npy: actions are absent"):
        write_latent_shard(tmp_path / "train-000000.tar", [replace(good, actions=None)])
    assert not list(tmp_path.iterdir())


def change_manifest(folder: Path, **changes: object) -> None:
    manifest = Manifest.read(folder / MANIFEST)
    manifest.model_copy(update=changes).write(folder / MANIFEST)


def change_bytes(folder: Path, member: str, old: bytes, new: bytes) -> None:
    tar = folder / "train-000000.tar"
    offset, size = index_members(tar)["one"][member]
    content = tar.read_bytes()
    place = content.index(old, offset, offset + size)
    tar.write_bytes(content[:place] + new + content[place + len(old) :])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: change_manifest(folder, latent_channels=8),
            r"member one\.level0\.npy: is float16 \(30, 8, 16, 4\)",
        ),
        (
            lambda folder: change_manifest(folder, num_levels=4, image_size=(16, 32)),
            r"member one\.level3\.npy: is missing",
        ),
        (lambda folder: change_bytes(folder, "level0.npy", b"<f2", b"<i2"), r"member one\.level0\.npy: is int16"),
        (
            lambda folder: change_bytes(folder, "level0.npy", b"NUMPY", b"NIMPY"),
            r"one\.level0\.npy: is not an npy array",
        ),
        (lambda folder: change_bytes(folder, "level0.npy", b"(30, ", b"(31, "), r"one\.level0\.npy: is float16 \(31, "),
        (lambda folder: change_bytes(folder, "actions.npy", b"<i2", b"<u2"), r"one\.actions\.npy: actions are uint16"),
        (lambda folder: change_bytes(folder, "poses.npy", b"(30, ", b"(29, "), r"one\.poses\.npy: "),
        (
            lambda folder: change_bytes(folder, "json", b"30\n}", b"31\n}"),
            r"member one\.json: is of one with 31 frames",
        ),
        (
            lambda folder: (folder / "train-000000.tar").write_bytes((folder / "train-000000.tar").read_bytes()[:9000]),
            r"train-000000\.tar: member one\.level0\.npy is cut short",
        ),
        (lambda folder: (folder / "train-000000.tar").unlink(), r"train-000000\.tar: cannot be read"),
    ],
)
def test_damage_names_tar_and_member(discrete_set: LatentSet, damage: object, message: str) -> None:
    folder = discrete_set[0]
    damage(folder)  # type: ignore[operator]
    store = LatentStore(folder)
    with pytest.raises(UserError, match=rf"train-000000\.tar.*{message}|{message}") as raised:
        for level in range(store.levels.num_levels):
            store.read("one", level)
        store.actions("one")
        store.poses("one")
        store.record("one")
    assert "train-000000.tar" in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_episode_and_level_are_named(discrete_set: LatentSet) -> None:
    store = LatentStore(discrete_set[0])
    with pytest.raises(UserError, match="holds no episode nobody"):
        store.read("nobody", 0)
    with pytest.raises(UserError, match=r"has levels 0\.\.2, not 3"):
        store.read("one", 3)


# -- mistakes in the settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (Levels((32, 32), (2, 2), 3), r"image_size is \(32, 32\), but .* \(16, 32\): set image_size"),
        (Levels((16, 32), (4, 4), 3), r"patch_size is \(4, 4\), but .* \(2, 2\)"),
        (Levels((16, 32), (2, 2), 4), r"num_levels is 4, but .* 3"),
    ],
)
def test_other_levels_are_named(discrete_set: LatentSet, levels: Levels, message: str) -> None:
    data = LatentsDataModule(discrete_set[0], CoarseToFine([1, 4, 12]), levels)
    with pytest.raises(UserError, match=message):
        data.setup("fit")


def test_too_short_episodes_are_named(discrete_set: LatentSet) -> None:
    data = LatentsDataModule(discrete_set[0], CoarseToFine([1, 4, 24]), LEVELS)
    data.setup("fit")
    with pytest.raises(UserError, match=r"chunk has 29 frames, .* split validation has 25"):
        data.val_dataloader()
    assert len(data.train_dataloader()) == 1000


def test_empty_splits_and_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        data_of(tmp_path / "nowhere")
    write_latent_set(tmp_path, {"train-000000.tar": [latent_sample("one", 30)]})
    with pytest.raises(UserError, match=r"split validation is empty \(episodes: 1 train, 0 validation\)"):
        data_of(tmp_path).val_dataloader()


def test_settings_that_cannot_be_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="validation_batches must be at least 3"):
        LatentsDataModule(tmp_path, PLAN, LEVELS, validation_batches=2)
    with pytest.raises(UserError, match="batch_size must be positive"):
        LatentsDataModule(tmp_path, PLAN, LEVELS, batch_size=0)
    with pytest.raises(UserError, match="plan: uses 4 levels, but num_levels is 2"):
        LatentsDataModule(tmp_path, CoarseToFine([1, 4, 12, 24]), Levels((16, 32), (1, 1), 2))
