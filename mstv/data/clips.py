"""Short clips with the action that produced their middle frame: the inverse-dynamics model's data."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64, Shaped, UInt8
from torch import Tensor

from mstv.data.conditions import as_tensor
from mstv.data.frames import FramesDataModule, FrameSet
from mstv.data.schema import ACTIONS, VIDEO, ActionSpec, Shard
from mstv.data.shards import read_npy
from mstv.errors import UserError
from mstv.levels import Levels

Actions = Int64[Tensor, " B"] | Float32[Tensor, "B A"]
"""Ids with null -1, or columns in their units."""

SCALE_SHARDS = 4
"""Shards that tell how large actions are; their actions alone are read."""


@dataclass
class ClipBatch:
    """B clips of many episodes, or of one.

    Attributes:
        images: (B, K, 3, H, W), uint8 until the batch is on its device, then float32 in [0, 1]; see `clip_frames`.
        actions: that produced frame K / 2 of each clip.
        index: of the batch, counted over all epochs, equal on all ranks; 0 for one episode.
        weight: in means over episodes; 0 where another rank has the episode too, else 1.
    """

    images: UInt8[Tensor, "B K 3 H W"] | Float[Tensor, "B K 3 H W"]
    actions: Actions
    index: int = 0
    weight: float = 1.0

    def pin_memory(self) -> "ClipBatch":
        """The same batch in pinned memory."""
        return replace(self, images=self.images.pin_memory(), actions=self.actions.pin_memory())


def clip_frames(frames: Int[np.ndarray, " n"], size: int, length: int) -> Int[np.ndarray, "n {size}"]:
    """The frames of clips around t: t - size / 2, ..., t - 1, t, ..., t + size / 2 - 1, held at both ends of a video.

    Args:
        frames: t of each clip; the action that produced frame t is what such a clip tells.
        size: K, even: half of it up to t - 1, half from t on.
        length: frames of the video.
    """
    around = np.arange(-(size // 2), size - size // 2)
    return np.clip(frames[:, None] + around, 0, length - 1)


@dataclass(frozen=True)
class ClipSet(FrameSet):
    """A set whose samples are (clip, action): no clip leaves its chunk, and a chunk's first frame has none.

    Attributes:
        size: K, frames of a clip.
        actions: what the actions are.
    """

    extensions: ClassVar[tuple[str, ...]] = (VIDEO, ACTIONS)
    first: ClassVar[int] = 1

    size: int
    actions: ActionSpec

    def samples(self, shard: Shard, key: str, members: dict[str, bytes], frames: np.ndarray) -> list[Any]:
        """See `FrameSet`."""
        where = f"{self.location.name_of(shard.name)}: {key}.{ACTIONS}"
        actions = read_npy(members[ACTIONS], where)
        self.actions.check(actions, len(actions), where)
        if len(frames) and frames.max() >= len(actions):
            raise UserError(f"{where}: has {len(actions)} actions, manifest.json counts more: shard the set again")
        clips = clip_frames(frames, self.size, len(actions))
        needed, place = np.unique(clips, return_inverse=True)
        images = self.decode(shard, key, members[VIDEO], needed)[place.reshape(clips.shape)]
        return list(zip(images, actions[frames], strict=True))

    def batch(self, samples: Sequence[Any], index: int) -> ClipBatch:
        """See `FrameSet`."""
        return ClipBatch(*self._stacked(samples), index=index)

    def episode(self, samples: Sequence[Any], key: str, weight: float) -> ClipBatch:
        """See `FrameSet`."""
        return ClipBatch(*self._stacked(samples), weight=weight)

    def _stacked(self, samples: Sequence[Any]) -> tuple[Tensor, Shaped[Tensor, "B *A"]]:
        images = torch.from_numpy(np.stack([image for image, _ in samples]))
        return images, as_tensor(np.stack([action for _, action in samples]))


class ClipsDataModule(FramesDataModule):
    """Clips from a set of frame shards with actions; drawn, dealt out and resumed as `FramesDataModule`'s frames.

    Args:
        folder: the set of frame shards.
        levels: of the tokenizer; the size of its frames alone matters.
        clip_frames: K, even; 2 is the frame and the one before.
        batch_size: clips of a training batch on one rank; a validation batch is one episode.
        others: as in `FramesDataModule`, clips for frames.

    Raises:
        UserError: as `FramesDataModule`; an odd number of frames; at `setup`, a set without actions.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        levels: Levels,
        clip_frames: int = 4,
        batch_size: int = 64,
        num_workers: int = 2,
        frames_per_chunk: int = 16,
        shuffle_chunks: int = 64,
        seed: int = 0,
        validation_episodes: int | None = 16,
        validation_frames: int | None = 128,
    ) -> None:
        if clip_frames < 2 or clip_frames % 2:
            raise UserError(f"clip_frames must be even and at least 2, got {clip_frames}")
        draws = (batch_size, num_workers, frames_per_chunk, shuffle_chunks, seed)
        super().__init__(folder, levels, *draws, validation_episodes, validation_frames)
        self.clip_frames = clip_frames

    @cached_property
    def actions(self) -> ActionSpec:
        """What the set's actions are.

        Raises:
            UserError: there are none.
        """
        spec = self.location.manifest("frames").actions
        if spec.kind == "none":
            raise UserError(f"{self.location}: has no actions, which inverse dynamics is about: give a set that has")
        return spec

    @property
    def action_kind(self) -> str:
        """Kind of the actions; the command line links it to the model."""
        return self.actions.kind

    @property
    def action_names(self) -> tuple[str, ...]:
        """Of the ids or columns; likewise."""
        return self.actions.names

    @property
    def action_units(self) -> tuple[str, ...]:
        """Of the columns; () for ids; likewise."""
        return self.actions.units if self.actions.kind == "vector" else ()

    @cached_property
    def action_scale(self) -> tuple[float, ...]:
        """Root mean square of each action column over the first shards of training, 1 where it is 0; () for ids."""
        if self.actions.kind == "discrete":
            return ()
        frames = self.frames_of("train")
        squares, count = np.zeros(self.actions.size), 0
        for shard in frames.shards[:SCALE_SHARDS]:
            wanted = [f"{key}.{ACTIONS}" for key, _ in frames.chunks(shard)]
            for member, data in self.location.members(shard.name, wanted):
                values = read_npy(data, f"{self.location.name_of(shard.name)}: {member}").astype(np.float64)
                squares, count = squares + np.square(values).sum(0), count + len(values)
        scale = np.sqrt(squares / max(count, 1))
        return tuple(float(value) if value else 1.0 for value in scale)

    def setup(self, stage: str) -> None:
        """Read the manifest; compare its frames' size, and look at its actions."""
        super().setup(stage)
        assert self.actions is not None

    def frames_of(self, split: str) -> ClipSet:
        """The shards of a split."""
        manifest = self.location.manifest("frames")
        frames = ClipSet.of(self.location, manifest, split, size=self.clip_frames, actions=self.actions)
        assert isinstance(frames, ClipSet)
        return frames
