"""The optimiser on weights that FSDP2 has sharded over two ranks is the optimiser on whole ones."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard

from mstv.muon import MuonAdamW
from mstv.optimiser import Optimiser
from mstv.sharding import local, whole

RANKS = 2
FULL = StateDictOptions(full_state_dict=True)


def net() -> nn.Module:
    torch.manual_seed(0)
    # Seven rows do not divide by two.
    return nn.Sequential(nn.Linear(6, 10), nn.LayerNorm(10), nn.Tanh(), nn.Linear(10, 7), nn.Linear(7, 10))


def steps(model: nn.Module, optimiser: torch.optim.Optimizer, count: int, first: int = 0) -> None:
    for step in range(first, first + count):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()


def values(model: nn.Module) -> list[Tensor]:
    return [whole(parameter.detach()).clone() for parameter in model.parameters()]


def compare(rank: int, folder: str) -> None:
    """In each rank's process."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    mesh = distributed.init_device_mesh("cpu", (RANKS,))
    settings = Optimiser(learning_rate=0.1, warmup_steps=1)

    reference = net()
    its_optimiser, _ = settings.build(reference)
    steps(reference, its_optimiser, 3)

    model = fully_shard(net(), mesh=mesh)
    optimiser, _ = settings.build(model)
    assert isinstance(optimiser, MuonAdamW)
    steps(model, optimiser, 3)
    parts = local(model.parameters())
    assert sum(part.numel() for part in parts) < sum(p.numel() for p in model.parameters())
    for ours, theirs in zip(values(model), values(reference), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)

    # A copy: the counts of steps in it are those that go on counting.
    saved = copy.deepcopy(get_optimizer_state_dict(model, optimiser, options=FULL))
    weights = values(model)
    steps(model, optimiser, 2, first=3)
    ended = values(model)

    other = net()
    with torch.no_grad():
        for parameter, value in zip(other.parameters(), weights, strict=True):
            parameter.copy_(value)
    other = fully_shard(other, mesh=mesh)
    resumed, _ = settings.build(other)
    # Rank 0 has the file; the others get their shards from it.
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_optimizer_state_dict(other, resumed, saved if rank == 0 else {}, options=options)
    steps(other, resumed, 2, first=3)
    for ours, theirs in zip(values(other), ended, strict=True):
        assert torch.equal(ours, theirs)
    distributed.destroy_process_group()


@pytest.mark.slow
def test_sharded_weights_are_trained_as_whole_ones(tmp_path: Path) -> None:
    multiprocessing.spawn(compare, (str(tmp_path),), nprocs=RANKS)
