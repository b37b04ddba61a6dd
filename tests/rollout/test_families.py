"""What every plan of every family promises, whatever its parameters."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from math import prod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mstv.errors import UserError
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.families import FAMILIES, family_from_class_path, family_from_dict, family_to_dict
from mstv.rollout.framepack import FramePack, FramePackLatents, FramePackMirrored
from mstv.rollout.full_resolution import FullResolution
from mstv.rollout.plan import Cell, Plan, PlanFamily, Step
from mstv.rollout.upscale import RolloutUpscale, Upscale

# Parameters only: the run-time type checks of the tests draw from `random`, which hypothesis wants no strategy to do.
Parameters = tuple[Any, ...]


def frames_per_level(lowest: int, levels: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(lowest, 6), min_size=levels, max_size=levels)


@st.composite
def windows_and_extra_tokens(draw: st.DrawFn) -> Parameters:
    ratios = draw(st.lists(st.integers(1, 3), max_size=4))
    first = draw(st.integers(1, 3))
    return [first * prod(ratios[:level]) for level in range(len(ratios) + 1)], draw(st.integers(0, 300))


@st.composite
def past_and_targets(draw: st.DrawFn, mirrored: bool = False) -> Parameters:
    levels = draw(st.integers(1, 5))
    past = draw(frames_per_level(0, levels).filter(any))
    first = draw(st.integers(1, 6))
    return past, [first, *draw(frames_per_level(0, levels - 1))] if mirrored else first


@st.composite
def base_and_levels(draw: st.DrawFn, units: tuple[int, ...]) -> Parameters:
    """The base is a multiple of the smallest from which the coarsest level's frames come out whole."""
    levels = draw(st.integers(1, len(units)))
    return units[levels - 1] * draw(st.integers(1, 3)), levels


EVERY_FAMILY: dict[str, tuple[Callable[..., PlanFamily], st.SearchStrategy[Parameters]]] = {
    "coarse_to_fine": (CoarseToFine, windows_and_extra_tokens()),
    "full_resolution": (FullResolution, st.tuples(st.integers(2, 20))),
    "framepack": (FramePack, past_and_targets()),
    "framepack_mirrored": (FramePackMirrored, past_and_targets(mirrored=True)),
    "framepack_latents": (FramePackLatents, past_and_targets()),
    "upscale": (Upscale, base_and_levels((8, 2, 1, 1, 1))),
    "rollout_upscale": (RolloutUpscale, base_and_levels((16, 4, 2, 2, 2))),
}
BASE_NUM_TOKENS = st.sampled_from([256, 512, 768])


def drawn(name: str, data: st.DataObject) -> PlanFamily:
    family, parameters = EVERY_FAMILY[name]
    return family(*data.draw(parameters))


def test_every_family_is_tried() -> None:
    assert set(EVERY_FAMILY) == set(FAMILIES)


@pytest.mark.parametrize("name", EVERY_FAMILY)
@given(data=st.data(), base_num_tokens=BASE_NUM_TOKENS)
@settings(max_examples=40, deadline=None)
def test_plans_are_consistent(name: str, data: st.DataObject, base_num_tokens: int) -> None:
    family = drawn(name, data)
    plan = family.plan(base_num_tokens)
    assert plan.advance > 0
    assert sum(plan.step_probability) == pytest.approx(1)

    # Every cell of the advance exactly once, and nothing outside the chunk.
    targets = [cell for step in plan.steps for cell in step.targets]
    assert len(targets) == len(set(targets))
    first, reached = plan.first_target_frame, plan.first_target_frame + plan.advance
    whole = {Cell(level, frame) for level in range(plan.num_levels) for frame in range(first, reached)}
    assert whole <= set(targets)
    assert all(first <= cell.frame < plan.num_frames and cell.level < plan.num_levels for cell in targets)
    assert plan.num_frames - plan.num_clipped_frames == reached
    if not plan.num_clipped_frames:
        assert whole == set(targets)

    # Three chunks: context is ground truth, or what a step denoised before, in this chunk or an earlier one.
    chunks = plan.chunks(first + 5, end=first + 5 + 3 * plan.advance)
    assert len(chunks.starts) == 3
    known = {Cell(level, frame) for level in range(plan.num_levels) for frame in range(first + 5)}
    for start in chunks.starts:
        for step in plan.steps:
            assert {Cell(level, start + frame) for level, frame in step.context} <= known
            known |= {Cell(level, start + frame) for level, frame in step.targets}
    assert {Cell(level, frame) for level in range(plan.num_levels) for frame in range(chunks.end)} <= known
    assert max(cell.frame for cell in known) < chunks.limit


@pytest.mark.parametrize("name", EVERY_FAMILY)
@given(data=st.data(), base_num_tokens=BASE_NUM_TOKENS)
@settings(max_examples=20, deadline=None)
def test_finished_is_the_known_prefix_of_level_0(name: str, data: st.DataObject, base_num_tokens: int) -> None:
    plan = drawn(name, data).plan(base_num_tokens)
    assert len(plan.finished) == len(plan.steps)
    assert plan.finished[-1] == plan.advance
    for index, count in enumerate(plan.finished):
        done = {cell.frame for step in plan.steps[: index + 1] for cell in step.targets if cell.level == 0}
        assert {plan.first_target_frame + frame for frame in range(count)} <= done
        assert count == plan.advance or plan.first_target_frame + count not in done


def test_finished_of_small_plans() -> None:
    assert CoarseToFine([1, 2, 4]).plan(16).finished == (0, 0, 1, 2, 2, 3, 4)
    assert FullResolution(5).plan(16).finished == (3,)
    # Frame 2 is known, and left to the next chunk.
    assert Plan((Step((), (Cell(0, 0), Cell(0, 1), Cell(0, 2))),), 16, 1, 3, 0, 1).finished == (2,)
    # Frames 1 and 2 wait for frame 0.
    steps = (Step((), (Cell(0, 1), Cell(0, 2))), Step((Cell(0, 1),), (Cell(0, 0),)))
    assert Plan(steps, 16, 1, 3, 0).finished == (0, 3)
    # Four frames touched, two of them at level 0.
    assert FramePackMirrored([1, 1], [2, 2]).plan(16).finished == (2,)
    # T = 5, 2 T = 10 frames: twice five at the top, then 2 frames at a time.
    assert Upscale(2, 2).plan(16).finished == (0, 0, 2, 4, 6, 8, 10)
    assert RolloutUpscale(4, 2).plan(16).finished == (0, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18)


@pytest.mark.parametrize("name", EVERY_FAMILY)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_families_are_values(name: str, data: st.DataObject) -> None:
    family = drawn(name, data)
    again = family_from_dict(family_to_dict(family))
    assert again == family and hash(again) == hash(family)
    parameters = {key: value for key, value in family_to_dict(family).items() if key != "family"}
    for class_path in (f"{type(family).__module__}.{type(family).__name__}", type(family).__name__):
        assert family_from_class_path(class_path, parameters) == family
    plan = family.plan(256)
    assert plan == again.plan(256) and hash(plan) == hash(again.plan(256))
    assert plan != family.plan(512)
    with pytest.raises(FrozenInstanceError):
        plan.num_frames = 3  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        setattr(family, next(iter(parameters)), 3)


def test_framepack_latents_sees_level_0_only() -> None:
    plan = FramePackLatents([1, 2, 4], 3).plan(64)
    (step,) = plan.steps
    assert step.context == tuple(Cell(0, frame) for frame in range(7))
    assert step.targets == tuple(Cell(0, frame) for frame in range(7, 10))
    assert (plan.num_levels, plan.num_frames, plan.first_target_frame, plan.advance) == (1, 10, 7, 3)
    assert plan.num_tokens == (640,)


def test_framepack_latents_is_merged_by_its_input_layer() -> None:
    family = FramePackLatents([1, 2, 4], 3)
    (step,) = family.merged_plan(64).steps
    assert step.context == FramePack([1, 2, 4], 3).plan(64).steps[0].context
    assert step.targets == tuple(Cell(0, frame) for frame in range(7, 10))
    assert family.merged_plan(64).num_tokens == (64 + 2 * 16 + 4 * 4 + 3 * 64,)
    with pytest.raises(UserError, match="quartered"):
        family.merged_plan(24)
    assert FramePack([1, 2], 3).merged_plan(64) == FramePack([1, 2], 3).plan(64)


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (lambda: FramePack([], 1), ("num_context_frames", "level")),
        (lambda: FramePack([1, -1], 1), ("num_context_frames", "-1")),
        (lambda: FramePack([0, 0], 1), ("num_context_frames", "at least one")),
        (lambda: FramePack([1, 1], 0), ("num_target_frames", "0")),
        (lambda: FramePack([1, 1, 1], 1).plan(8), ("8 tokens", "quartered")),
        (lambda: FramePackLatents([0], 1), ("num_context_frames", "at least one")),
        (lambda: FramePackLatents([1], 0), ("num_target_frames", "0")),
        (lambda: FramePackMirrored([1, 1], [1]), ("num_target_frames", "1", "num_context_frames", "2")),
        (lambda: FramePackMirrored([1, 1], [0, 1]), ("num_target_frames", "level 0")),
        (lambda: FramePackMirrored([1, 1], [1, -1]), ("num_target_frames", "-1")),
        (lambda: FramePackMirrored([1, 1, 1], [1, 1, 1]).plan(8), ("8 tokens", "quartered")),
        (lambda: Upscale(0, 2), ("base_num_frames", "0")),
        (lambda: Upscale(3, 2), ("base_num_frames", "3", "multiple of 2")),
        (lambda: Upscale(4, 1), ("base_num_frames", "4", "multiple of 8")),
        (lambda: Upscale(4, 0), ("num_levels", "0")),
        (lambda: Upscale(4, 4).plan(16), ("16 tokens", "quartered")),
        (lambda: RolloutUpscale(3, 4), ("base_num_frames", "3", "multiple of 2")),
        (lambda: RolloutUpscale(6, 2), ("base_num_frames", "6", "multiple of 4")),
        (lambda: RolloutUpscale(8, 1), ("base_num_frames", "8", "multiple of 16")),
        (lambda: family_from_dict({"family": "upscale", "num_levels": 2}), ("upscale", "base_num_frames", "missing")),
        (lambda: family_from_dict({"family": "upscale", "base_num_frames": 2, "levels": 2}), ("levels", "unknown")),
        (
            lambda: family_from_dict({"family": "upscale", "base_num_frames": 2.5, "num_levels": 2}),
            ("base_num_frames", "2.5", "integer"),
        ),
        (
            lambda: family_from_dict({"family": "framepack", "num_context_frames": 3, "num_target_frames": 1}),
            ("num_context_frames", "3", "list of integers"),
        ),
        (
            lambda: family_from_dict({"family": "coarse_to_fine", "windows": [1, "4"]}),
            ("windows", "'4'", "list of integers"),
        ),
        (lambda: family_from_dict({"family": "full_resolution", "num_frames": True}), ("num_frames", "True")),
        (lambda: family_from_class_path("os.system", {}), ("class_path", "os.system", "framepack.FramePack")),
        (lambda: family_from_class_path("mstv.rollout.plan.PlanFamily", {}), ("class_path", "PlanFamily")),
    ],
)
def test_parameters_that_do_not_fit(build, parts: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        build()
    message = str(error.value)
    assert "\n" not in message and message.startswith("plan: ")
    for part in parts:
        assert part in message
