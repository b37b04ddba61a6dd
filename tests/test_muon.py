"""Muon against torch's own and against singular values; one optimiser for all parameters."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import Parameter

from mstv.muon import MuonAdamW, MuonScale, orthogonalise

SHAPES = [(32, 32), (96, 32), (32, 128), (96, 32), (8, 200), (32, 32), (32, 32)]
ADJUST = {"match_rms": "match_rms_adamw", "original": "original"}


def matrices(seed: int = 0) -> list[Parameter]:
    torch.manual_seed(seed)
    return [Parameter(torch.randn(shape)) for shape in SHAPES]


def grow(parameters: list[Parameter], step: int) -> None:
    """The same gradients for whoever asks; with directions of very different size, as real ones have."""
    for index, parameter in enumerate(parameters):
        generator = torch.Generator().manual_seed(1000 * step + index)
        scale = torch.logspace(0, -1, parameter.shape[-1])
        parameter.grad = torch.randn(parameter.shape, generator=generator) * scale


def muon(parameters: list[Parameter], **options: object) -> MuonAdamW:
    return MuonAdamW([{"params": parameters, "algorithm": "muon"}], **options)  # type: ignore[arg-type]


def train(optimiser: torch.optim.Optimizer, parameters: list[Parameter], steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        grow(parameters, step)
        optimiser.step()


@pytest.mark.parametrize("scale", ["match_rms", "original"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_equals_the_muon_of_torch(scale: MuonScale, weight_decay: float) -> None:
    ours, theirs = matrices(), matrices()
    mine = muon(ours, lr=0.1, weight_decay=weight_decay, scale=scale)
    reference = torch.optim.Muon(theirs, lr=0.1, weight_decay=weight_decay, adjust_lr_fn=ADJUST[scale])
    for step in range(4):
        before = [parameter.detach().clone() for parameter in theirs]
        for a, b in zip(ours, theirs, strict=True):
            a.data.copy_(b)
        train(mine, ours, 1, step)
        train(reference, theirs, 1, step)
        for a, b, start in zip(ours, theirs, before, strict=True):
            # torch works in bfloat16, of 8 bits, with five iterations that do not contract.
            assert (a - b).norm() < 0.03 * (b - start).norm()


def test_orthogonalise_keeps_singular_vectors_and_evens_singular_values() -> None:
    torch.manual_seed(0)
    for rows, columns in [(24, 24), (24, 64), (64, 24)]:
        batch = torch.randn(3, rows, columns)
        result = orthogonalise(batch)
        u, _, vh = torch.linalg.svd(batch, full_matrices=False)
        core = u.mT @ result @ vh.mT
        values = core.diagonal(dim1=-2, dim2=-1)
        assert (core - torch.diag_embed(values)).abs().max() < 1e-4
        # The quintic's bounds for singular values that are not tiny against the norm.
        large = torch.linalg.svdvals(batch) > 0.02 * batch.flatten(1).norm(dim=1)[:, None]
        assert large.float().mean() > 0.9
        assert values[large].min() > 0.6 and values[large].max() < 1.25


def test_a_matrix_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    batch = torch.randn(5, 16, 48)
    alone = torch.cat([orthogonalise(one[None]) for one in batch])
    assert torch.allclose(orthogonalise(batch), alone, atol=1e-5)


def test_updates_have_the_root_mean_square_of_adamw() -> None:
    parameters = matrices()
    before = [parameter.detach().clone() for parameter in parameters]
    train(muon(parameters, lr=1.0, weight_decay=0.0), parameters, 1)
    for parameter, start in zip(parameters, before, strict=True):
        assert 0.14 < (parameter - start).square().mean().sqrt() < 0.24


def test_the_rest_is_adamw() -> None:
    vectors = [Parameter(torch.linspace(-1, 1, n)) for n in (5, 7)]
    twins = [Parameter(vector.detach().clone()) for vector in vectors]
    options = {"lr": 1e-2, "weight_decay": 0.1, "betas": (0.9, 0.95)}
    train(MuonAdamW([{"params": vectors, "algorithm": "adamw"}], **options), vectors, 5)  # type: ignore[arg-type]
    train(torch.optim.AdamW(twins, **options), twins, 5)  # type: ignore[arg-type]
    for ours, theirs in zip(vectors, twins, strict=True):
        assert torch.equal(ours, theirs)


def both() -> tuple[list[Parameter], MuonAdamW]:
    parameters = [*matrices(), Parameter(torch.randn(9))]
    groups = [
        {"params": parameters[:-1], "algorithm": "muon"},
        {"params": parameters[-1:], "algorithm": "adamw", "weight_decay": 0.0},
    ]
    return parameters, MuonAdamW(groups, lr=1e-2, weight_decay=0.1)


def test_the_state_goes_through_a_weights_only_file(tmp_path: Path) -> None:
    parameters, optimiser = both()
    train(optimiser, parameters, 3)
    torch.save({"optimiser": optimiser.state_dict(), "weights": [p.detach() for p in parameters]}, tmp_path / "a.pt")
    train(optimiser, parameters, 3, first=3)

    loaded = torch.load(tmp_path / "a.pt", weights_only=True)
    others, resumed = both()
    for parameter, value in zip(others, loaded["weights"], strict=True):
        parameter.data.copy_(value)
    for group in resumed.param_groups:
        group["lr"] = 123.0
    resumed.load_state_dict(loaded["optimiser"])
    train(resumed, others, 3, first=3)
    for a, b in zip(parameters, others, strict=True):
        assert torch.equal(a, b)


def test_a_run_repeats_bitwise() -> None:
    runs = []
    for _ in range(2):
        parameters, optimiser = both()
        train(optimiser, parameters, 5)
        runs.append(torch.cat([p.detach().flatten() for p in parameters]))
    assert torch.equal(*runs)


def test_without_gradients_nothing_moves() -> None:
    parameters, optimiser = both()
    train(optimiser, parameters, 2)
    weights = [p.detach().clone() for p in parameters]
    state = [{k: v.clone() for k, v in optimiser.state[p].items()} for p in parameters]
    optimiser.zero_grad()
    optimiser.step()
    for parameter, weight, was in zip(parameters, weights, state, strict=True):
        assert torch.equal(parameter, weight)
        assert all(torch.equal(optimiser.state[parameter][name], value) for name, value in was.items())


def test_a_zero_gradient_gives_a_finite_step() -> None:
    parameters, optimiser = both()
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    assert all(parameter.isfinite().all() for parameter in parameters)


def test_the_closure_runs_with_gradients() -> None:
    parameters, optimiser = both()

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = sum((p.square().sum() for p in parameters), torch.zeros(()))
        loss.backward()
        return loss

    losses = [optimiser.step(closure).item() for _ in range(20)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"params": [Parameter(torch.zeros(3))], "algorithm": "muon"}, "matrices"),
        ({"params": [Parameter(torch.zeros(3))], "algorithm": "sgd"}, "algorithm"),
        ({"params": [Parameter(torch.zeros(3, 3))], "algorithm": "muon", "scale": "huge"}, "scale"),
    ],
)
def test_nonsense_is_refused(group: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MuonAdamW([group], lr=1e-3)


def regression(make: Callable[[nn.Module], torch.optim.Optimizer]) -> list[float]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4))
    x = torch.randn(64, 8)
    y = torch.sin(3 * x[:, :4])
    optimiser = make(net)
    losses = []
    for _ in range(150):
        loss = (net(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_it_trains() -> None:
    def make(net: nn.Module) -> MuonAdamW:
        weights = [p for p in net.parameters() if p.ndim == 2]
        biases = [p for p in net.parameters() if p.ndim == 1]
        groups = [{"params": weights, "algorithm": "muon"}, {"params": biases, "algorithm": "adamw"}]
        return MuonAdamW(groups, lr=3e-2, weight_decay=0.0)

    losses = regression(make)
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_an_accelerator_agrees_with_the_cpu() -> None:
    here, there = matrices(), [Parameter(p.detach().cuda()) for p in matrices()]
    starts = [p.detach().clone() for p in here]
    grow(here, 0)
    for a, b in zip(here, there, strict=True):
        assert a.grad is not None
        b.grad = a.grad.cuda()
    muon(here, lr=0.1).step()
    muon(there, lr=0.1).step()
    for a, b, start in zip(here, there, starts, strict=True):
        assert (a - b.cpu()).norm() < 0.03 * (a - start).norm()
