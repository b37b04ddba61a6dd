"""What all ranks do after a step, agreed on between processes: the accelerator is neither used nor waited for."""

from datetime import timedelta

import torch
from torch import distributed


class Agreement:
    """The largest of all ranks' numbers, through one all-reduce of a few bytes between the hosts.

    An object broadcast of Lightning pickles, and with NCCL it waits for the GPU.
    """

    def __init__(self) -> None:
        self._group: distributed.ProcessGroup | None = None

    def open(self, patience: timedelta | None = None) -> None:
        """Make the group of hosts; all ranks call it. Nothing to do for one process.

        Args:
            patience: how long a rank waits for the others; None is PyTorch's default, half an hour.
        """
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            self._group = distributed.new_group(backend="gloo", timeout=patience)

    def largest(self, *values: int) -> tuple[int, ...]:
        """The largest value of all ranks in each place; all ranks call it with as many values."""
        if self._group is None:
            return values
        numbers = torch.tensor(values, dtype=torch.int64)
        distributed.all_reduce(numbers, distributed.ReduceOp.MAX, group=self._group)
        return tuple(numbers.tolist())

    def close(self) -> None:
        """Leave the group."""
        if self._group is not None:
            distributed.destroy_process_group(self._group)
            self._group = None
