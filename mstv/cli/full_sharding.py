"""`--trainer.strategy fsdp`: weights, gradients and moments sharded over all processes."""

from lightning import Callback
from lightning.pytorch.strategies import ModelParallelStrategy

from mstv.callbacks.long_rollout import LongRollout
from mstv.errors import UserError


class FullSharding(ModelParallelStrategy):
    """FSDP2 over all processes, with checkpoints that hold whole tensors, as those of any other strategy.

    Not Lightning's FSDPStrategy: it flattens weights, and Muon needs matrices.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Share the data among all processes; by default Lightning shares it among nodes alone."""
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()


def check_can_shard(callbacks: list[Callback], compiled: bool) -> None:
    """Refuse what does not run on sharded weights.

    Raises:
        UserError: names it.
    """
    if any(isinstance(callback, LongRollout) for callback in callbacks):
        raise UserError(
            "trainer.strategy is fsdp, but the callback LongRollout rolls out on one process, which has no whole "
            "weights then: remove it from trainer.callbacks, or use ddp"
        )
    if compiled:
        raise UserError("trainer.strategy is fsdp, which shards blocks that must not be compiled: leave out --compile")
