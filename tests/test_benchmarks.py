"""The rollout benchmark compares procedures that compute the same function."""

import pytest
import torch

from benchmarks import rollout
from benchmarks.rollout import PLAN, Workload, flops, token_evaluations
from mstv.cli.runtime import Runtime
from mstv.diffusion.sample_step import Sampling
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.cost import PlanCost
from mstv.transformer.size import TransformerSize


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Workload:
    levels = Levels((32, 32), (4, 4), 3)
    monkeypatch.setattr(rollout, "LEVELS", levels)
    monkeypatch.setattr(rollout, "PLAN", CoarseToFine([1, 4, 16], 64).plan(levels.num_tokens(0)))
    monkeypatch.setattr(rollout, "SIZES", {"S": TransformerSize(48, 3, 2)})
    return Workload("S", Runtime(torch.device("cpu"), bf16=False), compiled=False)


def test_the_published_procedure_is_joint_ddim(work: Workload) -> None:
    expected = work.ours("joint", Sampling(5, "ddim"))
    assert torch.allclose(work.publish(5), expected, atol=1e-4 * float(expected.abs().max()))


def test_flops_are_those_of_the_plan(work: Workload) -> None:
    size, nfe = TransformerSize(48, 3, 2), 7
    cost = PlanCost(rollout.PLAN, size.dim, size.depth, "joint", nfe)
    steps = len(rollout.PLAN.steps) / rollout.PLAN.advance
    modulation = nfe * size.depth * 2 * 6 * size.dim**2 * work.layout.num_tokens * steps
    counted = flops(size, "published", nfe, work.layout) * steps
    assert counted == pytest.approx(cost.attention_flops + cost.linear_flops + modulation)
    assert token_evaluations("joint", nfe, work.layout) * steps == pytest.approx(cost.token_evaluations)
    isolated = PlanCost(rollout.PLAN, size.dim, size.depth, "isolated", nfe)
    assert token_evaluations("isolated", nfe, work.layout) * steps == pytest.approx(isolated.token_evaluations)
    # The last block's context is only keys and values.
    assert flops(size, "isolated", nfe, work.layout) * steps < isolated.attention_flops + isolated.linear_flops * 1.1


def test_the_plan_is_the_published_one() -> None:
    assert len(PLAN.steps) == 85 and PLAN.advance == 192 and set(PLAN.num_tokens) == {3840}


@pytest.mark.parametrize("option", [["--nfe", "0"], ["--nfe", "1"], ["--rounds", "0"], ["--decoded", "0"]])
def test_settings_that_measure_nothing_are_refused_at_once(
    option: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["rollout", *option])
    monkeypatch.setattr(rollout, "measure", lambda *_: pytest.fail("it began"))
    with pytest.raises(SystemExit) as end:
        rollout.main()
    assert end.value.code == 2 and f"argument {option[0]}: must be at least" in capsys.readouterr().err
