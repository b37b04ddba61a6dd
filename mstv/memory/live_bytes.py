"""Bytes of the tensors that are alive, and the most there ever were."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """While it is active, counts the memory of every tensor that an operation makes, until the tensor is freed.

    Tensors that share memory count once. It counts fake tensors, which have sizes and no values, like real ones.

    Attributes:
        live: bytes alive now.
        peak: the most bytes alive at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known: dict[int, weakref.ref] = {}

    def hold(self, tensor: Tensor) -> None:
        """Count a tensor that was there before."""
        storage = tensor.untyped_storage()
        address, size = storage._cdata, storage.nbytes()
        if address in self._known:
            return
        self._known[address] = weakref.ref(storage, lambda _: self._drop(address, size))
        self.live += size
        self.peak = max(self.peak, self.live)

    def _drop(self, address: int, size: int) -> None:
        del self._known[address]
        self.live -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, torch.Tensor):
                self.hold(value)
        return result
