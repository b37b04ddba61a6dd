"""The full-resolution plan: only level 0, the baseline that coarse tokens are measured against."""

from dataclasses import dataclass

from mstv.errors import UserError
from mstv.rollout.plan import Plan, PlanFamily, Step, cells


@dataclass(frozen=True)
class FullResolution(PlanFamily):
    """`num_frames` frames at level 0, the first half (rounded down) context, the rest targets."""

    num_frames: int

    def __post_init__(self) -> None:
        if self.num_frames < 2:
            raise UserError(f"plan: num_frames must be at least 2 (context and a target), got {self.num_frames}")

    def plan(self, base_num_tokens: int) -> Plan:
        """See `PlanFamily.plan`."""
        first = self.num_frames // 2
        step = Step(tuple(cells(0, 0, first)), tuple(cells(0, first, self.num_frames)))
        return Plan((step,), base_num_tokens, 1, self.num_frames, first)
