"""How the samples of one training step are shared out, kept with a checkpoint and compared at a resume."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BatchLayout:
    """Who makes and takes the samples of a training step.

    Attributes:
        ranks: processes that train.
        workers: streams of batches on each rank, at least one.
        batch_size: samples of a batch on one rank.
        accumulation: batches of each rank in one step of the optimiser.
    """

    ranks: int
    workers: int
    batch_size: int
    accumulation: int

    @property
    def samples(self) -> int:
        """Samples of one step of the optimiser, on all ranks."""
        return self.ranks * self.batch_size * self.accumulation

    def __str__(self) -> str:
        """In a user's words."""
        return (
            f"{self.ranks} ranks x batch_size {self.batch_size} x accumulate_grad_batches {self.accumulation} = "
            f"{self.samples} samples a step"
        )
