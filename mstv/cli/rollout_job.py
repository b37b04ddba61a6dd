"""A rollout as asked for on the command line, and the frames of its latents."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from mstv.cli.runtime import Runtime
from mstv.data.latent_shards import LatentStore
from mstv.data.results import TRUTH, VIDEOS, Card
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
    runtime: Runtime

    def latents_path(self, key: str) -> Path:
        """File of an episode's level-0 latents, context first, float32 (end, rows, columns, C)."""
        return self.folder / LATENTS / f"{key}.npy"

    def latents(self, key: str) -> Float32[np.ndarray, "T h w C"]:
        """An episode's generated latents, mapped from their file.

        Raises:
            UserError: the file is damaged or of another size.
        """
        path = self.latents_path(key)
        try:
            latents = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path}: cannot be read ({error}): delete it and roll out again") from None
        shape = (self.card.end_frame, *self.store.levels.grid(0), self.store.channels)
        if latents.shape != shape or latents.dtype != np.float32:
            raise UserError(
                f"{path}: is {latents.dtype} {latents.shape}, not float32 {shape}: delete it and roll out again"
            )
        return latents

    def video_paths(self, key: str) -> dict[str, Path]:
        """Files of the generated video, the recorded one, and both beside each other."""
        return {name: self.folder / name / f"{key}.mp4" for name in VIDEO_FOLDERS}

    def videos_complete(self, key: str) -> bool:
        """Whether nothing is left to do for an episode."""
        return self.latents_path(key).is_file() and all(path.is_file() for path in self.video_paths(key).values())

    def num_recorded(self, key: str) -> int:
        """Frames of an episode that were recorded."""
        return self.store.num_frames(key)

    @torch.inference_mode()
    def decode(self, latents: Float[Tensor, "T h w C"]) -> Float[Tensor, "T 3 H W"]:
        """Frames in [0, 1], fp32 on the CPU, of level-0 latents."""
        with self.runtime.autocast():
            parts = latents.to(self.runtime.device).split(DECODED_AT_ONCE)
            return torch.cat([self.tokenizer.decode(part).float() for part in parts]).cpu()


def to_uint8(frames: Float[Tensor, "T 3 H W"]) -> UInt8[np.ndarray, "T H W 3"]:
    """Frames in [0, 1] as images."""
    return (frames * 255).round().byte().permute(0, 2, 3, 1).numpy()
