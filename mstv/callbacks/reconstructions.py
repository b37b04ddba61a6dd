"""A grid of reconstructions per level at each validation of the tokenizer."""

from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor

from mstv.callbacks.media import log_picture


class ReconstructionGrid(Callback):
    """Logs frames of the first validation episode, row by row: the true frames, then as decoded from each level alone.

    Args:
        num_frames: columns, evenly spaced over the episode.
    """

    def __init__(self, num_frames: int = 8) -> None:
        self.num_frames = num_frames

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the grid after the first episode."""
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        frames = batch.images[torch.linspace(0, len(batch.images) - 1, self.num_frames).long()]
        rows: list[Tensor] = [frames.float(), *pl_module.reconstruct(frames)]
        # (rows, columns, 3, H, W) to one picture.
        grid = torch.stack(rows).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
        # Small frames are shown at twice their size or more.
        zoom = max(1, 128 // frames.shape[-2])
        picture = (grid.clamp(0, 1) * 255).round().byte().repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
        log_picture(trainer, "reconstructions", picture.cpu().numpy())
