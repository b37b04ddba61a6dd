"""What both LightningModules share: their optimiser, and checkpoints that say which model they hold."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, Literal

from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from mstv import checkpoint
from mstv.optimiser import Optimiser


class TrainedModule(LightningModule):
    """A module that trains all its parameters with one optimiser.

    Attributes:
        kind: kind of model that its checkpoints name.
        config: plain values that rebuild the model; a subclass sets them.
        monitor: validation metric of the best checkpoint, and whether the smallest or the largest value is best.

    Args:
        optimiser: optimiser settings.
        seed: of all that the training draws.
    """

    kind: str
    config: dict[str, Any]
    monitor: tuple[str, Literal["min", "max"]]

    def __init__(self, optimiser: Optimiser, seed: int) -> None:
        super().__init__()
        self.optimiser = optimiser
        self.seed = seed

    @abstractmethod
    def compile_blocks(self) -> None:
        """Compile the transformer's blocks."""

    @abstractmethod
    def num_samples(self, batch: Any) -> int:
        """Sequences or frames of this rank's batch."""

    @abstractmethod
    def num_tokens(self, batch: Any) -> int:
        """Tokens of this rank's batch through the transformer."""

    @abstractmethod
    def training_flops(self, batch: Any) -> int:
        """Matrix-product FLOPs of forward and backward of this rank's batch; see `mstv.transformer.flops`."""

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """See `Optimiser`."""
        optimiser, schedule = self.optimiser.build(self)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, loaded: dict[str, Any]) -> None:
        """Add what rebuilds the model."""
        loaded[checkpoint.FIELD] = checkpoint.describe(self.kind, self.config)

    def on_load_checkpoint(self, loaded: dict[str, Any]) -> None:
        """Refuse weights of another architecture."""
        checkpoint.check_same_model(loaded, self.kind, self.config, Path(str(self.trainer.ckpt_path)))
