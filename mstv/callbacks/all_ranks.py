"""Numbers of all ranks, at the few moments when they are logged or saved."""

from jaxtyping import Float64
from lightning import Trainer
from torch import Tensor


def gather(trainer: Trainer, values: Float64[Tensor, " N"]) -> Float64[Tensor, "ranks N"]:
    """`values` of every rank, on the CPU; all ranks must call it, and it waits for the device."""
    if trainer.world_size == 1:
        return values[None]
    return trainer.strategy.all_gather(values.to(trainer.strategy.root_device)).cpu()
