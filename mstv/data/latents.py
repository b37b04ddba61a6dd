"""Batches of one plan step each, cut at random from the episodes of a latents set."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Int64
from torch import Tensor

from mstv.data.batch_layout import BatchLayout
from mstv.data.conditions import ConditionKind, Conditions, as_tensor
from mstv.data.latent_shards import LatentStore
from mstv.data.loader import ResumableDataModule
from mstv.data.location import Location
from mstv.data.schema import Manifest
from mstv.errors import UserError
from mstv.levels import Levels
from mstv.rollout.layout import frames_by_level
from mstv.rollout.plan import Plan, PlanFamily, Step

# Purposes of random numbers, so that no two draws share a generator. SeedSequence takes (a, b) and (a, b, 0) for the
# same, so every key has the same length.
TRAINING_STEP, TRAINING_SAMPLE, VALIDATION_SAMPLE = 1, 2, 3


@dataclass
class StepBatch:
    """What one plan step sees of B chunks.

    Attributes:
        step: index of the step in `Plan.steps`, equal on all ranks.
        tokens: (B, N, C) in the order of `gather_tokens(latents, Plan.steps[step].cells)`, in [-1, 1]; float16 until
            the batch is on its device, then float32.
        actions: conditions of the step's F distinct frames, int64 (B, F) with null -1, or float32 (B, F, A); None
            without any.
        index: of the batch, counted over all epochs.
        keys: B episodes.
        starts: (B,) frame of the episode at which each chunk begins.
    """

    step: int
    tokens: Float[Tensor, "B N C"]
    actions: Int64[Tensor, "B F"] | Float32[Tensor, "B F A"] | None
    index: int
    keys: tuple[str, ...]
    starts: tuple[int, ...]

    def pin_memory(self) -> "StepBatch":
        """The same batch in pinned memory."""
        actions = None if self.actions is None else self.actions.pin_memory()
        return replace(self, tokens=self.tokens.pin_memory(), actions=actions)


@dataclass
class StepStream:
    """A stream of `StepBatch` from one split; see `BatchStream`.

    Attributes:
        store: the latents.
        plan: its steps and its chunk's length.
        keys: episodes to draw from, each at least as long as a chunk.
        num_batches: batches of an epoch.
        batch_size: B, samples of this rank.
        rank: of this process; sample b is number rank * B + b of the batch that all ranks share.
        seed: of all that is drawn.
        fixed: whether every epoch repeats the same batches, which then go through the sampling groups in turn.
        conditions: what `StepBatch.actions` holds: the actions, or features of the poses.
    """

    store: LatentStore
    plan: Plan
    keys: tuple[str, ...]
    num_batches: int
    batch_size: int
    rank: int
    seed: int
    fixed: bool = False
    conditions: ConditionKind = "actions"

    def batches(self, epoch: int, start: int, num_workers: int) -> Iterator[StepBatch]:
        """See `BatchStream.batches`; what a batch holds does not depend on the number of workers."""
        for batch in range(start, self.num_batches, num_workers):
            yield self.batch(batch if self.fixed else epoch * self.num_batches + batch)

    def batch(self, index: int) -> StepBatch:
        """Batch `index` of this rank, a function of (seed, index) alone."""
        step_index = self.step_of(index)
        step = self.plan.steps[step_index]
        purpose = VALIDATION_SAMPLE if self.fixed else TRAINING_SAMPLE
        crops = [
            self._crop(np.random.default_rng([self.seed, purpose, index, self.rank * self.batch_size + sample]))
            for sample in range(self.batch_size)
        ]
        tokens = np.stack([self._tokens(step, key, start) for key, start in crops])
        return StepBatch(
            step=step_index,
            tokens=torch.from_numpy(tokens),
            actions=self._actions(step, crops),
            index=index,
            keys=tuple(key for key, _ in crops),
            starts=tuple(start for _, start in crops),
        )

    def step_of(self, index: int) -> int:
        """Index of the plan step of batch `index`, equal on all ranks.

        Training draws it with `Plan.step_probability`; fixed batches take the groups in turn and spread over each.
        """
        if not self.fixed:
            draw = np.random.default_rng([self.seed, TRAINING_STEP, index, 0]).random()
            return min(int(np.searchsorted(self._cumulative, draw, side="right")), len(self.plan.steps) - 1)
        members = list(self._groups.values())[index % len(self._groups)]
        visits = len(range(index % len(self._groups), self.num_batches, len(self._groups)))
        return members[(2 * (index // len(self._groups)) + 1) * len(members) // (2 * visits)]

    @cached_property
    def _conditions(self) -> Conditions:
        return Conditions(self.store, self.conditions)

    @cached_property
    def _cumulative(self) -> np.ndarray:
        return np.cumsum(self.plan.step_probability)

    @cached_property
    def _groups(self) -> dict[int, list[int]]:
        """Steps of each sampling group."""
        groups: dict[int, list[int]] = {}
        for index, step in enumerate(self.plan.steps):
            groups.setdefault(step.group, []).append(index)
        return groups

    @cached_property
    def _last_starts(self) -> np.ndarray:
        """Sums, up to and with each episode, of the numbers of its starts."""
        return np.cumsum([self.store.num_frames(key) - self.plan.num_frames + 1 for key in self.keys])

    def _crop(self, rng: np.random.Generator) -> tuple[str, int]:
        """An episode and a start; every start of every episode is equally likely."""
        draw = int(rng.integers(self._last_starts[-1]))
        episode = int(np.searchsorted(self._last_starts, draw, side="right"))
        return self.keys[episode], draw - (int(self._last_starts[episode - 1]) if episode else 0)

    def _tokens(self, step: Step, key: str, start: int) -> Float16[np.ndarray, "N C"]:
        """Tokens that `step` sees of the chunk at `start`, as `gather_tokens` orders them."""
        parts = [self.store.read(key, level, start + np.array(frames)) for level, frames in frames_by_level(step.cells)]
        return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])

    def _actions(self, step: Step, crops: list[tuple[str, int]]) -> Tensor | None:
        found = [self._conditions.of(key, start + np.array(step.frames)) for key, start in crops]
        rows = [row for row in found if row is not None]
        return as_tensor(np.stack(rows)) if rows else None


def stack_latents(store: LatentStore, keys: Sequence[str], level: int, frames: slice) -> Float[Tensor, "B T h w C"]:
    """Latents of the same frames of several episodes at one level, float32."""
    return torch.from_numpy(np.stack([store.read(key, level, frames) for key in keys])).float()


class LatentsDataModule(ResumableDataModule):
    """Training batches for the diffusion transformer from a set of latent shards.

    An epoch is only a unit, since chunks are drawn at random. Lightning's `self.log` takes the batch size from its
    caller: `batch_size=len(batch.keys)`.

    Args:
        folder: the set of latent shards, a local folder.
        plan: its steps are what is trained.
        levels: the token pyramid; it must be the set's.
        batch_size: B, chunks of one step on one rank.
        num_workers: worker processes of each loader.
        seed: of training's steps and chunks, and of validation's.
        epoch_batches: batches of one epoch.
        validation_batches: fixed batches of the validation split; at least one for each sampling group of the plan.
        conditions: what the model is told of each frame: the recorded actions, or features of the recorded poses.

    Raises:
        UserError: a URL, numbers that are not positive, or a plan that does not fit the levels. At `setup`: no such
            set, or other levels than the set's. When a loader is made: a split without episodes that are long enough.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        plan: PlanFamily,
        levels: Levels,
        batch_size: int = 8,
        num_workers: int = 2,
        seed: int = 0,
        epoch_batches: int = 1000,
        validation_batches: int = 16,
        conditions: ConditionKind = "actions",
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        self.folder = Location.of(folder).local_folder("latents")
        self.plan = plan.plan(levels.num_tokens(0))
        self.levels = levels
        self.epoch_batches = epoch_batches
        self.validation_batches = validation_batches
        self.conditions = conditions
        if epoch_batches < 1:
            raise UserError(f"epoch_batches must be positive, got {epoch_batches}")
        groups = len({step.group for step in self.plan.steps})
        if validation_batches < groups:
            raise UserError(
                f"validation_batches must be at least {groups}, the plan's groups: got {validation_batches}"
            )
        if self.plan.num_levels > levels.num_levels:
            raise UserError(f"plan: uses {self.plan.num_levels} levels, but num_levels is {levels.num_levels}")

    def setup(self, stage: str) -> None:
        """Open the set and compare it with `levels`."""
        super().setup(stage)
        for name in ("image_size", "patch_size", "num_levels"):
            wanted, found = getattr(self.levels, name), getattr(self.store.levels, name)
            if wanted != found:
                raise UserError(
                    f"levels: {name} is {wanted}, but the latents in {self.folder} have {found}: "
                    f"set {name} to {found} or encode a set with the other tokenizer"
                )

    @cached_property
    def store(self) -> LatentStore:
        """The set."""
        return LatentStore(self.folder)

    @property
    def manifest(self) -> Manifest:
        """Of the set."""
        return self.store.manifest

    @property
    def tokenizer_sha256(self) -> str | None:
        """See `ResumableDataModule`."""
        return None if self.manifest.tokenizer is None else self.manifest.tokenizer.sha256

    @property
    def latent_channels(self) -> int:
        """C of the set; the command line links it to the model."""
        return self.store.channels

    @property
    def action_kind(self) -> str:
        """Kind of the conditions; likewise."""
        return Conditions(self.store, self.conditions).action_kind

    @property
    def num_actions(self) -> int:
        """Ids or columns of the conditions; likewise."""
        return Conditions(self.store, self.conditions).size

    def training_stream(self, rank: int, world_size: int) -> StepStream:
        """See `ResumableDataModule`."""
        return self._stream("train", self.epoch_batches, rank)

    def validation_stream(self, rank: int, world_size: int) -> StepStream:
        """See `ResumableDataModule`."""
        return self._stream("validation", self.validation_batches, rank, fixed=True)

    def check_layout(self, before: BatchLayout, now: BatchLayout) -> None:
        """A step must have as many samples as before.

        Samples are numbered over all ranks, so with equal ranks x batch_size, and equal accumulation, the very same
        sequence goes on; with other accumulation the rest is drawn anew, and no sample comes twice.
        """
        if before.samples != now.samples:
            size, rest = divmod(before.samples, now.ranks * now.accumulation)
            how = "" if rest or not size else f"set --data.batch_size {size}, or "
            raise UserError(
                f"the run was trained with {before}, now {now}: {how}choose them so that the product is "
                f"{before.samples}, or start a new run from its weights with --weights"
            )

    def on_after_batch_transfer(self, batch: StepBatch, dataloader_idx: int) -> StepBatch:
        """Tokens as float32; a Trainer with true half precision has cast them already."""
        return replace(batch, tokens=batch.tokens.float()) if batch.tokens.dtype == torch.float16 else batch

    def _stream(self, split: str, num_batches: int, rank: int, fixed: bool = False) -> StepStream:
        keys = self.store.keys(split)
        if not keys:
            raise UserError(
                f"{self.folder}: split {split} is empty (episodes: {len(self.store.keys('train'))} train, "
                f"{len(self.store.keys('validation'))} validation): splits are drawn by world, so shard frames of more "
                "worlds or assign worlds with `mstv-data shard`, and encode again"
            )
        long_enough = tuple(key for key in keys if self.store.num_frames(key) >= self.plan.num_frames)
        if not long_enough:
            raise UserError(
                f"{self.folder}: the plan's chunk has {self.plan.num_frames} frames, but the longest episode of split "
                f"{split} has {max(map(self.store.num_frames, keys))}: use smaller windows or longer episodes"
            )
        rest = (num_batches, self.batch_size, rank, self.seed, fixed, self.conditions)
        return StepStream(self.store, self.plan, long_enough, *rest)
