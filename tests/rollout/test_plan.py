"""Plans: identity, checks, and the picture."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mstv.errors import UserError
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.draw import CONTEXT, TARGET, UNSEEN, draw_plans, plan_grid
from mstv.rollout.families import family_from_dict, family_to_dict
from mstv.rollout.full_resolution import FullResolution


def test_plans_are_hashable_and_comparable() -> None:
    plan = CoarseToFine([1, 4, 16], 64).plan(64)
    assert plan == CoarseToFine((1, 4, 16), 64).plan(64)
    assert hash(plan) == hash(CoarseToFine((1, 4, 16), 64).plan(64))
    assert plan != CoarseToFine((1, 4, 16), 0).plan(64)


@given(
    first=st.integers(1, 3),
    ratios=st.lists(st.integers(1, 4), min_size=0, max_size=3),
    extra=st.integers(0, 300),
)
def test_coarse_to_fine_denoises_every_cell_of_its_window_once(first: int, ratios: list[int], extra: int) -> None:
    windows = [first]
    for ratio in ratios:
        windows.append(windows[-1] * ratio)
    plan = CoarseToFine(windows, extra).plan(64)
    targets = [cell for step in plan.steps for cell in step.targets]
    assert len(targets) == len(set(targets)) == len(windows) * windows[-1]
    assert {cell.frame for cell in targets} == set(range(plan.first_target_frame, plan.num_frames))
    assert sum(plan.step_probability) == pytest.approx(1)
    for step in plan.steps:
        assert max(cell.frame for cell in step.cells) < plan.num_frames


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CoarseToFine([2, 3]), "divide"),
        (lambda: CoarseToFine([]), "positive"),
        (lambda: CoarseToFine([1, 4], -1), "negative"),
        (lambda: CoarseToFine([1, 4, 16]).plan(8), "quartered"),
        (lambda: FullResolution(1), "at least 2"),
        (lambda: family_from_dict({"family": "nonesuch"}), "nonesuch"),
        (lambda: family_from_dict({"family": "full_resolution", "frames": 3}), "frames"),
    ],
)
def test_bad_plans_are_named(build, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build()


@pytest.mark.parametrize("family", [CoarseToFine([1, 4], 8), FullResolution(6)])
def test_families_survive_as_plain_values(family) -> None:
    assert family_from_dict(family_to_dict(family)) == family


def test_grid_counts_cells(tmp_path: Path) -> None:
    plan = CoarseToFine([1, 4, 16], 64).plan(64)
    grid = plan_grid(plan)
    for index, step in enumerate(plan.steps):
        assert (grid[index] == CONTEXT).sum() == len(step.context)
        assert (grid[index] == TARGET).sum() == len(step.targets)
    assert (grid == UNSEEN).any()
    draw_plans([("one", plan)], tmp_path / "plan.png")
    pixels = np.asarray(Image.open(tmp_path / "plan.png").convert("RGB")).reshape(-1, 3)
    assert (np.abs(pixels.astype(int) - [228, 87, 46]).sum(1) < 8).sum() > 100


def is_target(path: Path) -> np.ndarray:
    """Pixels of the targets' colour, (rows, columns)."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return np.abs(pixels - [228, 87, 46]).sum(2) < 8


def test_plans_are_drawn_beside_one_another(tmp_path: Path) -> None:
    first, second = CoarseToFine([1, 4], 8).plan(64), FullResolution(4).plan(64)
    path = tmp_path / "plans.png"
    draw_plans([("first", first), ("second", second)], path)
    targets = is_target(path)
    # The legend's patch stands below the strips.
    legend = int(targets.shape[0] * 0.9)
    left, right = np.split(targets[:legend], [targets.shape[1] // 2], axis=1)

    def strips(half: np.ndarray) -> int:
        rows = half.any(1).astype(int)
        return int((np.diff(rows, prepend=0) == 1).sum())

    assert (strips(left), strips(right)) == (5, 1)
    draw_plans([("first", first), ("second", second)], path, max_steps=2)
    targets = is_target(path)
    assert strips(targets[: int(targets.shape[0] * 0.8), : targets.shape[1] // 2]) == 2
    for file_format in ("pdf", "svg"):
        draw_plans([("first", first)], tmp_path / f"plan.{file_format}", file_format)
        assert (tmp_path / f"plan.{file_format}").stat().st_size > 1000
