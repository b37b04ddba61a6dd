"""Upscaling plans: the whole chunk at the coarsest level first, then the whole chunk one level finer, and so on."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from mstv.errors import UserError
from mstv.rollout.plan import Cell, Plan, PlanFamily, Step, cells, check_tokens


@dataclass(frozen=True)
class Upscale(PlanFamily):
    """Every level below the coarsest is denoised from the next coarser one alone.

    Args:
        base_num_frames: b; level l < L-1 is denoised in windows of b 4^l frames.
        num_levels: L.
    """

    base_num_frames: int
    num_levels: int

    def __post_init__(self) -> None:
        _check_levels(self.num_levels)
        # T = (b N0 + b N0 / 4) / (2 n_{L-1}), so that every step sees as many tokens; N0 = n_{L-1} 4^(L-1) cancels out.
        _check_base(self.base_num_frames, self.num_levels, 8 // gcd(8, 5 * 4 ** (self.num_levels - 1)))

    def plan(self, base_num_tokens: int) -> Plan:
        """See `PlanFamily.plan`."""
        windows = [self.base_num_frames * 4**level for level in range(self.num_levels - 1)]
        top = self.base_num_frames * 5 * 4 ** (self.num_levels - 1) // 8
        return _level_by_level(base_num_tokens, [*windows, top], show_past=False)


@dataclass(frozen=True)
class RolloutUpscale(PlanFamily):
    """Every level below the coarsest is denoised from the next coarser one and from its own preceding window.

    Args:
        base_num_frames: b; level l < L-1 is denoised in windows of b/2 4^l frames.
        num_levels: L.
    """

    base_num_frames: int
    num_levels: int

    def __post_init__(self) -> None:
        _check_levels(self.num_levels)
        # T = (b N0 + b N0 / 8) / (2 n_{L-1}); below the coarsest level b/2 must be whole, too.
        multiple = 16 // gcd(16, 9 * 4 ** (self.num_levels - 1))
        _check_base(self.base_num_frames, self.num_levels, max(2, multiple))

    def plan(self, base_num_tokens: int) -> Plan:
        """See `PlanFamily.plan`."""
        windows = [self.base_num_frames * 4**level // 2 for level in range(self.num_levels - 1)]
        top = self.base_num_frames * 9 * 4 ** (self.num_levels - 1) // 16
        return _level_by_level(base_num_tokens, [*windows, top], show_past=True)


def _level_by_level(base_num_tokens: int, windows: Sequence[int], show_past: bool) -> Plan:
    """Twice T frames at the coarsest level, each from the T frames before; then these 2T frames level by level.

    Args:
        base_num_tokens: N0.
        windows: (w_0, ..., w_{L-2}, T), frames denoised at once at each level; all divide 2T.
        show_past: whether a finer level's step sees the preceding window of its own level.
    """
    check_tokens(base_num_tokens, len(windows))
    top = len(windows) - 1
    first, num_frames = windows[top], 3 * windows[top]
    steps = []
    for level in reversed(range(len(windows))):
        window = windows[level]
        for start in range(first, num_frames, window):
            context: list[Cell] = []
            if level < top:
                context += cells(level + 1, start, start + window)
            if level == top or show_past:
                context += cells(level, start - window, start)
            steps.append(Step(tuple(context), tuple(cells(level, start, start + window)), group=level))
    return Plan(tuple(steps), base_num_tokens, len(windows), num_frames, first)


def _check_levels(num_levels: int) -> None:
    if num_levels < 1:
        raise UserError(f"plan: num_levels must be at least 1, got {num_levels}")


def _check_base(base_num_frames: int, num_levels: int, multiple: int) -> None:
    if base_num_frames < 1 or base_num_frames % multiple:
        raise UserError(
            f"plan: base_num_frames must be a positive multiple of {multiple} for num_levels {num_levels} "
            f"(the windows of every level come out whole), got {base_num_frames}"
        )
