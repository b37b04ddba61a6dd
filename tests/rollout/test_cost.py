"""What a plan costs, against numbers worked out by hand."""

from dataclasses import FrozenInstanceError

import pytest

from mstv.errors import UserError
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.cost import PlanCost
from mstv.rollout.full_resolution import FullResolution
from mstv.rollout.plan import Cell, Plan, Step

PUBLISHED = CoarseToFine([3, 12, 48, 192], 768).plan(256)


def test_published_plan() -> None:
    cost = PlanCost(PUBLISHED, dim=768, depth=12, attention="joint", nfe=1)
    assert cost.num_steps == 85
    assert cost.frames == 192
    assert cost.num_tokens == (3840, 3840)
    assert cost.num_target_tokens == (768, 768)
    assert cost.token_evaluations == 1700
    # 85 steps x 4 d N^2 x 12 layers / 192 frames
    assert cost.attention_flops == pytest.approx(85 * 4 * 768 * 3840**2 * 12 / 192)
    # 24 d^2 a token and layer at MLP ratio 4.
    assert cost.linear_flops == pytest.approx(1700 * 24 * 768**2 * 12)


def test_isolated_attention_evaluates_context_once() -> None:
    cost = PlanCost(PUBLISHED, dim=768, depth=12, attention="isolated", nfe=50)
    # 80 % of the 1700 are context, once; 340 are targets, fifty times.
    assert cost.token_evaluations == 1360 + 340 * 50
    attention = 85 / 192 * 4 * 768 * 12 * (3072**2 + 768 * 3840 * 50)
    assert cost.attention_flops == pytest.approx(attention)
    assert cost.linear_flops == pytest.approx((1360 + 340 * 50) * 24 * 768**2 * 12)
    joint = PlanCost(PUBLISHED, dim=768, depth=12, attention="joint", nfe=50)
    assert joint.token_evaluations == 85_000


def test_unequal_steps() -> None:
    # Level 0 has 4 tokens a frame, level 1 has 1. Step 0: 3 context and 2 targets; step 1: 4 + 1 context, 8 targets.
    steps = (
        Step((Cell(1, 0), Cell(1, 1), Cell(1, 2)), (Cell(1, 3), Cell(1, 4))),
        Step((Cell(0, 2), Cell(1, 3)), (Cell(0, 3), Cell(0, 4))),
    )
    plan = Plan(steps, 4, 2, 5, 3)
    joint = PlanCost(plan, dim=10, depth=2, attention="joint", nfe=3, mlp_ratio=2.0)
    assert joint.num_tokens == (5, 13)
    assert joint.num_target_tokens == (2, 8)
    assert joint.token_evaluations == (5 + 13) * 3 / 2
    assert joint.attention_flops == 4 * 10 * 2 * (25 + 169) * 3 / 2
    assert joint.linear_flops == 27 * 2 * 2 * (400 + 2 * 2 * 100)
    isolated = PlanCost(plan, dim=10, depth=2, attention="isolated", nfe=3, mlp_ratio=2.0)
    assert isolated.token_evaluations == (3 + 2 * 3 + 5 + 8 * 3) / 2
    assert isolated.attention_flops == 4 * 10 * 2 * (9 + 2 * 5 * 3 + 25 + 8 * 13 * 3) / 2
    # Step 0 reaches from frame 3 back to frame 0, step 1 from frame 3 back to frame 2.
    assert joint.memory == (1, 3)


def test_memory_counts_from_each_steps_first_target() -> None:
    assert PlanCost(FullResolution(8).plan(16), 8, 1, "joint", 2).memory == (4, 4)
    # n = 16, 4, 1. The coarsest step reaches 1 + 2 + E / 1 frames back. Then, by first target frame after the context:
    # level 1 at 0: 1 + E / 4 = 2; level 0 at 0: 0 + 0 + (4 - 2 ahead) = 2, at 1: 0 + 1 + 2 = 3;
    # level 1 at 2: 1 + 1 + (4 - 2 ahead) = 4; level 0 at 2: 0 + 0 + 4, at 3: 0 + 1 + 4 = 5.
    assert PlanCost(CoarseToFine([1, 2, 4], 4).plan(16), 8, 1, "joint", 2).memory == (2, 7)
    # A step that sees only the frames it denoises, or nothing, remembers nothing.
    ahead = Plan((Step((Cell(1, 0),), (Cell(0, 0),)), Step((), (Cell(0, 1),))), 4, 2, 2, 0)
    assert PlanCost(ahead, 8, 1, "joint", 2).memory == (0, 0)


def test_costs_are_values_and_checked() -> None:
    cost = PlanCost(PUBLISHED, 768, 12, "joint", 50)
    assert cost == PlanCost(PUBLISHED, 768, 12, "joint", 50) and hash(cost) == hash(
        PlanCost(PUBLISHED, 768, 12, "joint", 50)
    )
    with pytest.raises(FrozenInstanceError):
        cost.nfe = 2  # type: ignore[misc]
    with pytest.raises(UserError, match="nfe must be at least 1, got 0"):
        PlanCost(PUBLISHED, 768, 12, "joint", 0)
