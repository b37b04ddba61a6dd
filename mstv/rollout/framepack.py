"""FramePack plans: the near past fine, the far past coarse, and no plan ahead (arXiv 2504.12626)."""

from collections.abc import Sequence
from dataclasses import dataclass

from mstv.errors import UserError
from mstv.rollout.plan import Cell, Plan, PlanFamily, Step, cells, check_tokens


@dataclass(frozen=True)
class FramePack(PlanFamily):
    """One step: consecutive blocks of the past, finest nearest, and the next frames denoised at every level.

    Args:
        num_context_frames: frames of the past at each level, level 0 (nearest) first; 0 leaves a level out.
        num_target_frames: frames denoised, at every level.
    """

    num_context_frames: Sequence[int]
    num_target_frames: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_context_frames", tuple(self.num_context_frames))
        _check_context(self.num_context_frames)
        _check_target(self.num_target_frames)

    def plan(self, base_num_tokens: int) -> Plan:
        """See `PlanFamily.plan`."""
        num_levels = len(self.num_context_frames)
        check_tokens(base_num_tokens, num_levels)
        first = sum(self.num_context_frames)
        end = first + self.num_target_frames
        targets = [cell for level in range(num_levels) for cell in cells(level, first, end)]
        step = Step(_past(self.num_context_frames), tuple(targets))
        return Plan((step,), base_num_tokens, num_levels, end, first)


@dataclass(frozen=True)
class FramePackMirrored(PlanFamily):
    """One step that mirrors the past into the future: coarser levels are denoised further ahead.

    The first d_0 target frames are denoised at every level, then each level l >= 1 alone takes the next d_l frames;
    those are clipped, that is, denoised again by later chunks.

    Args:
        num_context_frames: frames of the past at each level, level 0 (nearest) first; 0 leaves a level out.
        num_target_frames: (d_0, ..., d_{L-1}), as many levels.
    """

    num_context_frames: Sequence[int]
    num_target_frames: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_context_frames", tuple(self.num_context_frames))
        object.__setattr__(self, "num_target_frames", tuple(self.num_target_frames))
        _check_context(self.num_context_frames)
        if len(self.num_target_frames) != len(self.num_context_frames):
            raise UserError(
                f"plan: num_target_frames has {len(self.num_target_frames)} levels, num_context_frames "
                f"{len(self.num_context_frames)}: give as many of both"
            )
        if min(self.num_target_frames) < 0 or self.num_target_frames[0] < 1:
            raise UserError(
                "plan: num_target_frames must not be negative, and at least 1 at level 0, "
                f"got {list(self.num_target_frames)}"
            )

    def plan(self, base_num_tokens: int) -> Plan:
        """See `PlanFamily.plan`."""
        num_levels = len(self.num_context_frames)
        check_tokens(base_num_tokens, num_levels)
        first = sum(self.num_context_frames)
        end = first + self.num_target_frames[0]
        targets = [cell for level in range(num_levels) for cell in cells(level, first, end)]
        num_clipped = 0
        for level in range(1, num_levels):
            ahead = self.num_target_frames[level]
            targets += cells(level, end + num_clipped, end + num_clipped + ahead)
            num_clipped += ahead
        step = Step(_past(self.num_context_frames), tuple(targets))
        return Plan((step,), base_num_tokens, num_levels, end + num_clipped, first, num_clipped)


@dataclass(frozen=True)
class FramePackLatents(PlanFamily):
    """The frames of `FramePack` at level 0 alone, for the published baseline, whose input layer merges the past itself.

    The plan's token counts are those of the latents; what the transformer sees of them is `merged_plan`.

    Args:
        num_context_frames: frames of the past that the input layer cuts into patches of 2^l x 2^l latents, level 0
            (nearest) first.
        num_target_frames: frames denoised.
    """

    num_context_frames: Sequence[int]
    num_target_frames: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_context_frames", tuple(self.num_context_frames))
        _check_context(self.num_context_frames)
        _check_target(self.num_target_frames)

    def plan(self, base_num_tokens: int) -> Plan:
        """See `PlanFamily.plan`."""
        first = sum(self.num_context_frames)
        end = first + self.num_target_frames
        step = Step(tuple(cells(0, 0, first)), tuple(cells(0, first, end)))
        return Plan((step,), base_num_tokens, 1, end, first)

    def merged_plan(self, base_num_tokens: int) -> Plan:
        """See `PlanFamily.merged_plan`; a patch of 2^l x 2^l latents is one token, as one of level l is."""
        num_levels = len(self.num_context_frames)
        check_tokens(base_num_tokens, num_levels)
        plan = self.plan(base_num_tokens)
        step = Step(_past(self.num_context_frames), plan.steps[0].targets)
        return Plan((step,), base_num_tokens, num_levels, plan.num_frames, plan.first_target_frame)


def _past(num_frames: Sequence[int]) -> tuple[Cell, ...]:
    """Consecutive blocks of `num_frames[l]` frames at level l, the last of level 0 being the newest frame."""
    context: list[Cell] = []
    end = sum(num_frames)
    for level, count in enumerate(num_frames):
        context += cells(level, end - count, end)
        end -= count
    return tuple(context)


def _check_context(num_frames: Sequence[int]) -> None:
    if not num_frames:
        raise UserError("plan: num_context_frames is empty: give the frames of each level, nearest first")
    if min(num_frames) < 0:
        raise UserError(f"plan: num_context_frames must not be negative, got {list(num_frames)}")
    if not any(num_frames):
        raise UserError(f"plan: num_context_frames must hold at least one frame, got {list(num_frames)}")


def _check_target(num_frames: int) -> None:
    if num_frames < 1:
        raise UserError(f"plan: num_target_frames must be at least 1, got {num_frames}")
