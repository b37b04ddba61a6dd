"""What a training did, step by step and bit by bit; `mstv fit` loads this callback as a user's."""

import hashlib
import json
import os
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Recorder(Callback):
    """Appends a line for every batch to `<folder>/rank<r>.jsonl`: what it holds, learning rates, loss.

    Args:
        folder: where to write.
        seconds: that a batch takes at least, so that a test can kill in between.
        diverging_from: the module says that it diverges from this step on.
    """

    def __init__(self, folder: str, seconds: float = 0.0, diverging_from: int | None = None) -> None:
        self.folder = Path(folder)
        self.seconds = seconds
        self.diverging_from = diverging_from

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        held = {field.name: getattr(batch, field.name) for field in fields(batch)}
        line = {
            "process": os.getpid(),
            "global_step": trainer.global_step,
            "loss": outputs["loss"].item().hex(),
            "rates": [group["lr"] for group in trainer.optimizers[0].param_groups],
            **{name: digest(value) if isinstance(value, torch.Tensor) else value for name, value in held.items()},
        }
        if "images" in held:
            line["each"] = [digest(image) for image in held["images"]]
        self.folder.mkdir(exist_ok=True)
        with (self.folder / f"rank{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.diverging_from is not None:
            pl_module.diverging = trainer.global_step >= self.diverging_from  # type: ignore[assignment]
        time.sleep(self.seconds)


def digest(values: torch.Tensor) -> str:
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()[:16]
