"""Tensors of which every rank holds a shard (DTensor, as FSDP2 makes them), beside ordinary ones."""

from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Replicate


def shard(module: nn.Module, methods: Sequence[str], mesh: DeviceMesh) -> None:
    """Shard the parameters of a module (FSDP2) that are not sharded yet; each of the methods gathers them.

    Between calls they are sharded, also after one without gradients, so that averages and checkpoints see shards.
    """
    fully_shard(module, mesh=mesh, reshard_after_forward=True)
    for method in methods:
        register_fsdp_forward_method(module, method)


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
