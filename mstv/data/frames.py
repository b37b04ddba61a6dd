"""Single frames drawn at random from frame shards, and whole episodes for validation: the tokenizer's data."""

import os
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby, islice
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mstv.data.batch_layout import BatchLayout
from mstv.data.loader import ResumableDataModule
from mstv.data.location import Location
from mstv.data.schema import VIDEO, Chunk, Manifest, Shard
from mstv.data.video import decode_frames
from mstv.errors import UserError
from mstv.levels import Levels


@dataclass
class FrameBatch:
    """B frames of many episodes.

    Attributes:
        images: (B, 3, H, W), uint8 until the batch is on its device, then float32 in [0, 1].
        index: of the batch, counted over all epochs, equal on all ranks.
    """

    images: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"]
    index: int

    def pin_memory(self) -> "FrameBatch":
        """The same batch in pinned memory."""
        return replace(self, images=self.images.pin_memory())


@dataclass
class EpisodeBatch:
    """Frames of one episode, in order.

    Attributes:
        images: (T, 3, H, W), uint8 until the batch is on its device, then float32 in [0, 1].
        key: of the episode.
        weight: in means over episodes; 0 where another rank has the episode too, else 1.
    """

    images: UInt8[Tensor, "T 3 H W"] | Float[Tensor, "T 3 H W"]
    key: str
    weight: float

    def pin_memory(self) -> "EpisodeBatch":
        """The same batch in pinned memory."""
        return replace(self, images=self.images.pin_memory())


@dataclass(frozen=True)
class FrameSet:
    """The shards of one split, how to read chunks of them, and what a sample is: here, a frame.

    Attributes:
        location: of the tars.
        shards: of the split, at least one.
        chunk_frames: frames of every chunk but an episode's last.
        image_size: (H, W) of a frame in pixels.
    """

    extensions: ClassVar[tuple[str, ...]] = (VIDEO,)
    """Members of a chunk that are read."""
    first: ClassVar[int] = 0
    """First frame of a chunk that has a sample."""

    location: Location
    shards: tuple[Shard, ...]
    chunk_frames: int
    image_size: tuple[int, int]

    @classmethod
    def of(cls, location: Location, manifest: Manifest, split: str, **more: Any) -> "FrameSet":
        """The set of a split; `more` are what a subclass adds to the attributes.

        Raises:
            UserError: the split is empty.
        """
        shards = tuple(manifest.of_split(split))
        assert manifest.chunk_frames is not None, "a manifest of frames has it"
        if not shards:
            worlds = len({world for shard in manifest.shards for world in shard.worlds})
            raise UserError(
                f"{location}: split {split} is empty: splits are drawn by world and the set has {worlds} worlds: "
                "record more worlds or assign them with `mstv-data shard`"
            )
        return cls(location, shards, manifest.chunk_frames, manifest.image_size, **more)

    def chunks(self, shard: Shard) -> list[tuple[str, int]]:
        """(key of the sample, frames) of each chunk, in the order of the tar."""
        return [
            (Chunk.sample_key(key, index), min(self.chunk_frames, num_frames - first))
            for key, num_frames in shard.episodes.items()
            for index, first in enumerate(range(0, num_frames, self.chunk_frames))
        ]

    def decode(self, shard: Shard, key: str, video: bytes, frames: np.ndarray) -> UInt8[np.ndarray, "n 3 H W"]:
        """Frames of one chunk, in the order asked for."""
        where = f"{self.location.name_of(shard.name)}: member {key}.{VIDEO}"
        order = np.argsort(frames)
        try:
            images = decode_frames(video, frames[order], where)
        except IndexError as error:
            raise UserError(f"{error}, though manifest.json counts more: shard the set again") from None
        if images.shape[1:] != (*self.image_size, 3):
            raise UserError(f"{where}: frames are {images.shape[1:3]}, manifest.json says {self.image_size}")
        return images[np.argsort(order)].transpose(0, 3, 1, 2)

    def samples(self, shard: Shard, key: str, members: dict[str, bytes], frames: np.ndarray) -> list[Any]:
        """Samples of some frames of one chunk, in the order asked for."""
        return list(self.decode(shard, key, members[VIDEO], frames))

    def batch(self, samples: Sequence[Any], index: int) -> Any:
        """A batch of samples of many episodes."""
        return FrameBatch(torch.from_numpy(np.stack(samples)), index)

    def episode(self, samples: Sequence[Any], key: str, weight: float) -> Any:
        """A batch of one episode's samples, in order."""
        return EpisodeBatch(torch.from_numpy(np.stack(samples)), key, weight)


@dataclass(frozen=True)
class FrameStream:
    """A stream of a set's `batch`es: every epoch another order, every frame at most once, ranks disjoint.

    An epoch deals the shards out anew to the workers of all ranks, so that the frames of each are balanced. A worker
    reads its tars from front to back and keeps a window of chunks, from each of which it draws a few frames; a batch
    takes its frames from chunks of that window at random. What is drawn follows from the manifest alone, so a resume
    draws without reading, and reads and decodes only what comes after.
    """

    frames: FrameSet
    batch_size: int
    frames_per_chunk: int
    shuffle_chunks: int
    seed: int
    rank: int
    world_size: int
    num_workers: int
    num_batches: int = field(init=False)

    def __post_init__(self) -> None:
        workers, shards = self.world_size * self.num_workers, len(self.frames.shards)
        if shards < workers:
            raise UserError(
                f"{self.frames.location}: split {self.frames.shards[0].split} has {shards} shards for "
                f"{self.world_size} ranks x {self.num_workers} workers: use fewer workers or make more shards "
                "with a smaller `mstv-data shard --episodes-per-shard`"
            )
        fewest = min(sum(map(self._num_drawn, group)) for group in self.deal(0))
        if fewest < self.batch_size:
            raise UserError(
                f"{self.frames.location}: a batch has {self.batch_size} frames, but of {self.world_size} ranks x "
                f"{self.num_workers} workers one draws only {fewest} in an epoch: use a smaller batch_size, fewer "
                "workers or a larger frames_per_chunk"
            )
        object.__setattr__(self, "num_batches", self.num_workers * (fewest // self.batch_size))

    def deal(self, epoch: int) -> list[list[Shard]]:
        """Shards of each worker of each rank, in reading order.

        The largest shard goes first, to whom has least: so the sums are the same every epoch, and with them the
        length of an epoch, though equal shards change places.
        """
        rng = np.random.default_rng([self.seed, epoch, 0])
        shards = [self.frames.shards[index] for index in rng.permutation(len(self.frames.shards))]
        groups: list[list[Shard]] = [[] for _ in range(self.world_size * self.num_workers)]
        loads = [0] * len(groups)
        for shard in sorted(shards, key=self._num_drawn, reverse=True):
            index = loads.index(min(loads))
            groups[index].append(shard)
            loads[index] += self._num_drawn(shard)
        groups = [groups[index] for index in rng.permutation(len(groups))]
        return [[group[place] for place in rng.permutation(len(group))] for group in groups]

    def batches(self, epoch: int, start: int, num_workers: int) -> Iterator[Any]:
        """See `BatchStream.batches`."""
        if num_workers != self.num_workers:
            raise ValueError(f"the stream is dealt out to {self.num_workers} workers, not {num_workers}")
        group = self.rank * num_workers + start % num_workers
        chunks = [(shard, *chunk) for shard in self.deal(epoch)[group] for chunk in self.frames.chunks(shard)]
        left = [self._drawn_of(length) for _, _, length in chunks]
        places = _draw_places(left, self.shuffle_chunks, random.Random(f"{self.seed} {epoch} {group}"))
        for place in islice(places, start // num_workers * self.batch_size):
            left[place] -= 1
        members = self._members(chunks, [place for place, count in enumerate(left) if count])
        waiting: dict[int, dict[str, bytes]] = {}
        decoded: dict[int, Iterator[Any]] = {}
        for batch in range(start, self.num_batches, num_workers):
            samples = []
            for _ in range(self.batch_size):
                place = next(places)
                while place not in decoded and place not in waiting:
                    waiting.update([next(members)])
                if place not in decoded:
                    shard, key, length = chunks[place]
                    # A generator of its own for each chunk, so that chunks that are not reached cost nothing.
                    rng = np.random.default_rng([self.seed, epoch, group + 1, place + 1])
                    first = self.frames.first
                    drawn = first + rng.permutation(length - first)[: self.frames_per_chunk][-left[place] :]
                    decoded[place] = iter(self.frames.samples(shard, key, waiting.pop(place), drawn))
                samples.append(next(decoded[place]))
                left[place] -= 1
                if not left[place]:
                    del decoded[place]
            yield self.frames.batch(samples, epoch * self.num_batches + batch)

    def _num_drawn(self, shard: Shard) -> int:
        # A set may have a million episodes, and every epoch counts them all.
        length = self.frames.chunk_frames
        whole, rest = np.divmod(np.fromiter(shard.episodes.values(), np.int64), length)
        drawn_of_rest = (rest - self.frames.first).clip(0, self.frames_per_chunk)
        return int((whole * self._drawn_of(length) + drawn_of_rest).sum())

    def _drawn_of(self, length: int) -> int:
        """Samples drawn from a chunk of so many frames."""
        return max(0, min(length - self.frames.first, self.frames_per_chunk))

    def _members(
        self, chunks: list[tuple[Shard, str, int]], places: list[int]
    ) -> Iterator[tuple[int, dict[str, bytes]]]:
        """(place, members) of the chunks at `places`, ascending; tars without any of them stay closed."""
        for name, of_shard in groupby(places, lambda place: chunks[place][0].name):
            samples = {chunks[place][1]: place for place in of_shard}
            for sample, members in _complete_samples(self.frames, name, samples):
                yield samples[sample], members


def _complete_samples(frames: FrameSet, tar: str, samples: Collection[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Samples of a tar with the members that a set reads, in the order of the tar; a sample's members are together."""
    wanted = [f"{sample}.{extension}" for sample in samples for extension in frames.extensions]
    found: dict[str, bytes] = {}
    for member, data in frames.location.members(tar, wanted):
        sample, _, extension = member.partition(".")
        found[extension] = data
        if len(found) == len(frames.extensions):
            yield sample, found
            found = {}


def _draw_places(counts: list[int], window: int, rng: random.Random) -> Iterator[int]:
    """Each place i `counts[i]` times, in random order, yet with no more than `window` places begun and not ended."""
    left = list(counts)
    following = (place for place, count in enumerate(counts) if count)
    begun = list(islice(following, window))
    while begun:
        index = int(rng.random() * len(begun))  # five times as fast as randrange, and a resume draws millions
        place = begun[index]
        left[place] -= 1
        if not left[place]:
            begun[index] = next(following, -1)
            if begun[index] < 0:
                begun[index] = begun[-1]
                begun.pop()
        yield place


@dataclass(frozen=True)
class EpisodeStream:
    """A stream of a set's `episode`s, the same every epoch: rank r takes the episodes r, r + world size, ...

    Where the episodes do not divide evenly, the first ones come once more with weight 0, so that no rank waits for
    another and no mean counts them twice.

    Attributes:
        frames: the set.
        num_episodes: episodes of all ranks, evenly spaced in the set; None for all.
        num_frames: of each episode, evenly spaced in time; None for all.
        rank: of this process.
        world_size: number of ranks.
    """

    frames: FrameSet
    num_episodes: int | None
    num_frames: int | None
    rank: int
    world_size: int

    @cached_property
    def episodes(self) -> list[tuple[Shard, str]]:
        """The episodes of all ranks."""
        episodes = [(shard, key) for shard in self.frames.shards for key in shard.episodes]
        return [episodes[index] for index in _evenly(len(episodes), self.num_episodes)]

    @property
    def num_batches(self) -> int:
        """See `BatchStream.num_batches`."""
        return -(-len(self.episodes) // self.world_size)

    def batches(self, epoch: int, start: int, num_workers: int) -> Iterator[Any]:
        """See `BatchStream.batches`; the episodes of a tar are read in one pass over it."""
        numbers = [batch * self.world_size + self.rank for batch in range(start, self.num_batches, num_workers)]
        rounds = [divmod(number, len(self.episodes)) for number in numbers]
        for (group_round, _), group in groupby(rounds, lambda each: (each[0], self.episodes[each[1]][0].name)):
            episodes = [self.episodes[index] for _, index in group]
            yield from self._read(episodes[0][0], [key for _, key in episodes], float(group_round == 0))

    def _read(self, shard: Shard, keys: list[str], weight: float) -> Iterator[Any]:
        """Episodes of one tar, in its order."""
        length = self.frames.chunk_frames
        chosen = {key: _evenly(shard.episodes[key], self.num_frames) for key in keys}
        chosen = {key: frames[frames % length >= self.frames.first] for key, frames in chosen.items()}
        chunks = {
            key: [(Chunk.sample_key(key, int(chunk)), int(chunk)) for chunk in np.unique(frames // length)]
            for key, frames in chosen.items()
        }
        found = _complete_samples(self.frames, shard.name, [name for of_key in chunks.values() for name, _ in of_key])
        waiting: dict[str, dict[str, bytes]] = {}
        for key, frames in chosen.items():
            samples: list[Any] = []
            for name, chunk in chunks[key]:
                while name not in waiting:
                    waiting.update([next(found)])
                inside = frames[frames // length == chunk] % length
                samples += self.frames.samples(shard, name, waiting.pop(name), inside)
            yield self.frames.episode(samples, key, weight)


def _evenly(total: int, count: int | None) -> np.ndarray:
    """`count` of `total` indices, evenly spaced, ascending and distinct; all of them if there are no more."""
    count = total if count is None else min(count, total)
    return np.arange(count) * total // count


class FramesDataModule(ResumableDataModule):
    """The tokenizer's data from a set of frame shards: random frames to train on, whole episodes to validate on.

    A worker holds about `shuffle_chunks` chunks, half of their drawn frames decoded: shuffle_chunks *
    frames_per_chunk * H * W * 3 / 2 bytes, 200 MB for the defaults at 256x256. Lightning's `self.log` takes the batch
    size from its caller: `batch_size=len(batch.images)`.

    Args:
        folder: the set of frame shards: a local folder, or a URL that webdataset opens, see `Location.of`.
        levels: the token pyramid; its image size must be the set's.
        batch_size: frames of a training batch on one rank; a validation batch is one episode.
        num_workers: worker processes of each loader; training needs a shard for each of them on every rank.
        frames_per_chunk: distinct frames drawn from each chunk per epoch; a few already touch most of a chunk's
            groups of pictures, so 16 of 64 cost little more decoding than 8, and read twice as fast.
        shuffle_chunks: chunks of a worker among which the frames of a batch are mixed.
        seed: of everything that is drawn.
        validation_episodes: episodes validated on, evenly spaced in the split, all ranks together; None for all.
        validation_frames: frames of each of them, evenly spaced in time; None for all.

    Raises:
        UserError: numbers that are not positive. At `setup`: no such set, or another image size. When a loader is
            made: an empty split, too few shards for the workers, or too few frames for a batch.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        levels: Levels,
        batch_size: int = 64,
        num_workers: int = 2,
        frames_per_chunk: int = 16,
        shuffle_chunks: int = 128,
        seed: int = 0,
        validation_episodes: int | None = 16,
        validation_frames: int | None = 16,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        numbers = {
            "frames_per_chunk": frames_per_chunk,
            "shuffle_chunks": shuffle_chunks,
            "validation_episodes": validation_episodes,
            "validation_frames": validation_frames,
        }
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise UserError(f"{name} must be positive, got {number}")
        self.location = Location.of(folder)
        self.levels = levels
        self.frames_per_chunk = frames_per_chunk
        self.shuffle_chunks = shuffle_chunks
        self.validation_episodes = validation_episodes
        self.validation_frames = validation_frames

    def setup(self, stage: str) -> None:
        """Read the manifest and compare it with `levels`."""
        super().setup(stage)
        self.manifest = self.location.manifest("frames")
        if self.manifest.image_size != self.levels.image_size:
            raise UserError(
                f"levels: image_size is {self.levels.image_size}, but the frames in {self.location} are "
                f"{self.manifest.image_size}: set image_size to {self.manifest.image_size} or shard frames of that size"
            )

    def training_stream(self, rank: int, world_size: int) -> FrameStream:
        """See `ResumableDataModule`."""
        return FrameStream(
            self.frames_of("train"),
            self.batch_size,
            self.frames_per_chunk,
            self.shuffle_chunks,
            self.seed,
            rank,
            world_size,
            max(1, self.num_workers),
        )

    def validation_stream(self, rank: int, world_size: int) -> EpisodeStream:
        """See `ResumableDataModule`."""
        frames = self.frames_of("validation")
        return EpisodeStream(frames, self.validation_episodes, self.validation_frames, rank, world_size)

    def frames_of(self, split: str) -> FrameSet:
        """The shards of a split, and what a sample of them is."""
        return FrameSet.of(self.location, self.manifest, split)

    def check_layout(self, before: BatchLayout, now: BatchLayout) -> None:
        """All must be as before: an epoch deals its frames out to the workers of all ranks, each once."""
        if before != now:
            raise UserError(
                f"the run was trained with {before}, {before.workers} workers a rank, now {now}, {now.workers} "
                "workers: the order of frames depends on all of them, so set --trainer.devices, --data.batch_size, "
                "--data.num_workers and --trainer.accumulate_grad_batches as before, or start a new run from its "
                "weights with --weights"
            )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Images as float32 in [0, 1], made on the device."""
        return replace(batch, images=batch.images.float() / 255)
