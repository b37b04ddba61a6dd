"""Tensors of which every rank holds a shard (DTensor, as FSDP2 makes them), beside ordinary ones."""

from collections.abc import Iterable

from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate


def local(tensors: Iterable[Tensor]) -> list[Tensor]:
    """This rank's shards, which share the tensors' memory; ordinary tensors as they are."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, gathered from all ranks if it is sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_like(part: Tensor, like: Tensor) -> Tensor:
    """The tensor of which `part` is this rank's shard, if `like` is sharded; on every rank."""
    if not isinstance(like, DTensor):
        return part
    sharded = DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )
    return sharded.full_tensor()


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This rank's shard of a tensor that every rank has, as `like` is sharded."""
    if not isinstance(like, DTensor):
        return tensor
    replicated = DTensor.from_local(tensor, like.device_mesh, [Replicate()] * like.device_mesh.ndim, run_check=False)
    return replicated.redistribute(placements=like.placements).to_local()
