"""A rollout as asked for on the command line, and the frames of its latents."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from mstv.cli.runtime import Runtime
from mstv.data.latent_shards import LatentStore
from mstv.data.results import TRUTH, VIDEOS, Card, level_folder
from mstv.data.schema import Manifest
from mstv.diffusion.module import DiffusionModule
from mstv.diffusion.sample_step import Sampling
from mstv.errors import UserError
from mstv.tokenizer.tokenizer import Tokenizer

LATENTS = "latents"
VIDEO_FOLDERS = (VIDEOS, TRUTH, "side_by_side")
"""The generated videos, the recorded ones, and both beside each other."""
DECODED_AT_ONCE = 64
"""Frames that the decoder takes at once: enough to fill a GPU at the published size, few enough for any."""


@dataclass(frozen=True)
class RolloutJob:
    """The model, the data, the settings, and where results go.

    Attributes:
        keys: episodes of this process; those of the card are shared among all ranks.
        num_level_videos: episodes of the card, the first ones, whose coarse levels are shown alone.
    """

    folder: Path
    card: Card
    keys: tuple[str, ...]
    sampling: Sampling
    module: DiffusionModule
    tokenizer: Tokenizer
    store: LatentStore
    frames_folder: Path
    frames: Manifest
    batch_size: int
    num_level_videos: int
    runtime: Runtime

    def latents_path(self, key: str, level: int = 0) -> Path:
        """File of an episode's latents of level 0 or of a coarse level, context first; see `latents_shape`."""
        return (level_folder(self.folder, level) if level else self.folder / LATENTS) / f"{key}.npy"

    def latents(self, key: str, level: int = 0) -> Float32[np.ndarray, "T h w C"]:
        """An episode's generated latents of a level, mapped from their file.

        Raises:
            UserError: the file is damaged or of another size.
        """
        path = self.latents_path(key, level)
        try:
            latents = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path}: cannot be read ({error}): delete it and roll out again") from None
        shape = self.latents_shape(level)
        if latents.shape != shape or latents.dtype != np.float32:
            raise UserError(
                f"{path}: is {latents.dtype} {latents.shape}, not float32 {shape}: delete it and roll out again"
            )
        return latents

    def latents_shape(self, level: int) -> tuple[int, int, int, int]:
        """(end, rows, columns, C) of an episode's latents of a level, which are float32."""
        return (self.card.end_frame, *self.store.levels.grid(level), self.store.channels)

    def video_paths(self, key: str) -> dict[str, Path]:
        """Files of the generated video, the recorded one, and both beside each other."""
        return {name: self.folder / name / f"{key}.mp4" for name in VIDEO_FOLDERS}

    def videos_complete(self, key: str) -> bool:
        """Whether nothing is left to do for an episode."""
        return self.latents_path(key).is_file() and all(path.is_file() for path in self.video_paths(key).values())

    def lacking_level_videos(self) -> list[tuple[str, int]]:
        """Episodes of this process and their coarse levels that are to be shown alone, can be, and are not yet."""
        shown = [key for key in self.card.episodes[: self.num_level_videos] if key in self.keys]
        paths = {(key, level): self.latents_path(key, level) for key in shown for level in self.card.coarse_levels}
        # Whoever needs the disk may delete latents.
        return [it for it, path in paths.items() if path.is_file() and not path.with_suffix(".mp4").is_file()]

    def num_recorded(self, key: str) -> int:
        """Frames of an episode that were recorded."""
        return self.store.num_frames(key)

    @torch.inference_mode()
    def decode(self, latents: Float[Tensor, "T h w C"], level: int = 0) -> Float[Tensor, "T 3 H W"]:
        """Frames in [0, 1], fp32 on the CPU, of the latents of one level."""
        with self.runtime.autocast():
            parts = latents.to(self.runtime.device).split(DECODED_AT_ONCE)
            return torch.cat([self.tokenizer.decode(part, level).float() for part in parts]).cpu()


def to_uint8(frames: Float[Tensor, "T 3 H W"]) -> UInt8[np.ndarray, "T H W 3"]:
    """Frames in [0, 1] as images."""
    return (frames * 255).round().byte().permute(0, 2, 3, 1).numpy()
