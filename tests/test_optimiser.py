"""Optimiser settings: which parameter goes where, schedules, and what is refused."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from mstv.errors import UserError
from mstv.muon import MuonAdamW
from mstv.optimiser import Optimiser


class Net(nn.Module):
    """One of each: linear, embedding, norm, convolution, bare matrix, frozen linear, two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.embedding = nn.Embedding(3, 8)
        self.norm = nn.LayerNorm(8)
        self.table = nn.Parameter(torch.randn(5, 8))
        self.convolution = nn.Conv1d(2, 2, 3)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.tied = nn.Linear(4, 8)
        self.tied.weight = self.first.weight


def names(module: nn.Module, parameters: list[nn.Parameter]) -> set[str]:
    known = {id(parameter): name for name, parameter in module.named_parameters()}
    return {known[id(parameter)] for parameter in parameters}


def test_the_type_of_module_decides() -> None:
    net = Net()
    optimiser, _ = Optimiser(weight_decay=0.3).build(net)
    assert isinstance(optimiser, MuonAdamW)
    muon, decayed, rest = optimiser.param_groups
    assert (muon["algorithm"], decayed["algorithm"], rest["algorithm"]) == ("muon", "adamw", "adamw")
    assert names(net, muon["params"]) == {"first.weight"} and len(muon["params"]) == 1
    assert names(net, decayed["params"]) == {"embedding.weight", "table", "convolution.weight"}
    assert names(net, rest["params"]) == {
        *("first.bias", "tied.bias", "norm.weight", "norm.bias", "convolution.bias"),
    }
    assert (muon["weight_decay"], decayed["weight_decay"], rest["weight_decay"]) == (0.3, 0.3, 0.0)
    assert all(group["lr"] == group["initial_lr"] / 2000 == 1e-3 / 2000 for group in optimiser.param_groups)


def test_adamw_alone() -> None:
    net = Net()
    optimiser, _ = Optimiser(kind="adamw", weight_decay=0.3).build(net)
    assert type(optimiser) is AdamW
    decayed, rest = optimiser.param_groups
    assert names(net, decayed["params"]) == {"first.weight", "embedding.weight", "table", "convolution.weight"}
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.3, 0.0)


def test_warm_up_then_constant() -> None:
    optimiser = Optimiser(warmup_steps=4)
    assert [optimiser.factor(step) for step in (0, 1, 3, 4, 10**6)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert Optimiser(warmup_steps=0).factor(0) == 1.0


def test_cosine_to_zero() -> None:
    optimiser = Optimiser(warmup_steps=2, decay_steps=10)
    assert optimiser.factor(2) == 1.0 and optimiser.factor(6) == pytest.approx(0.5)
    assert optimiser.factor(4) == pytest.approx(0.8536, abs=1e-4)
    assert optimiser.factor(10) == optimiser.factor(99) == 0.0


def test_warm_up_stable_decay() -> None:
    optimiser = Optimiser(warmup_steps=2, decay_start=6, decay_steps=10, decay_shape="linear")
    assert [optimiser.factor(step) for step in range(12)] == [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0]


def test_the_schedule_drives_both_algorithms() -> None:
    net = Net()
    optimiser, schedule = Optimiser(learning_rate=1.0, warmup_steps=2, decay_steps=4).build(net)
    rates = []
    for _ in range(5):
        (rate,) = {group["lr"] for group in optimiser.param_groups}
        rates.append(rate)
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("kind", ["muon_adamw", "adamw"])
def test_the_state_of_optimiser_and_schedule_is_plain(tmp_path: Path, kind: str) -> None:
    def steps(net: nn.Module, optimiser: torch.optim.Optimizer, schedule: object, first: int) -> None:
        for step in range(first, first + 3):
            torch.manual_seed(step)
            for parameter in net.parameters():
                parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
            optimiser.step()
            schedule.step()  # type: ignore[attr-defined]

    settings = Optimiser(kind=kind, warmup_steps=4, decay_steps=9)  # type: ignore[arg-type]
    torch.manual_seed(0)
    net, other = Net(), Net()
    optimiser, schedule = settings.build(net)
    steps(net, optimiser, schedule, 0)
    saved = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}
    torch.save(saved, tmp_path / "a.pt")
    steps(net, optimiser, schedule, 3)

    loaded = torch.load(tmp_path / "a.pt", weights_only=True)
    resumed, its_schedule = settings.build(other)
    other.load_state_dict(loaded["net"])
    resumed.load_state_dict(loaded["optimiser"])
    its_schedule.load_state_dict(loaded["schedule"])
    steps(other, resumed, its_schedule, 3)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    assert schedule.get_last_lr() == its_schedule.get_last_lr()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative"),
        ({"max_skipped_steps": 0}, "max_skipped_steps must be positive"),
        ({"decay_start": 10, "warmup_steps": 0}, "give both"),
        ({"warmup_steps": 10, "decay_start": 5, "decay_steps": 20}, "in the 10 warmup_steps"),
        ({"warmup_steps": 10, "decay_steps": 10}, "decay_steps is 10, but the decay begins at step 10"),
    ],
)
def test_nonsense_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Optimiser(**settings)  # type: ignore[arg-type]
