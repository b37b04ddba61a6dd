"""The coarse-to-fine plan: fine tokens of the near past, coarse tokens of the far past and of what comes next."""

from collections.abc import Sequence
from dataclasses import dataclass

from mstv.errors import UserError
from mstv.rollout.plan import Cell, Plan, PlanFamily, Step, cells, check_positive, check_tokens


@dataclass(frozen=True)
class CoarseToFine(PlanFamily):
    """Depth-first coarse-to-fine generation (arXiv 2606.09056).

    w_{L-1} frames are denoised at the coarsest level; then each consecutive w_{L-2} of them one level finer, and so on
    down to level 0.

    Args:
        windows: (w_0, ..., w_{L-1}), frames denoised at once at each level; each divides the next.
        extra_context_tokens: E, further past tokens of the target's own level.
    """

    windows: Sequence[int]
    extra_context_tokens: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "windows", tuple(self.windows))
        check_positive("windows", self.windows)
        if self.extra_context_tokens < 0:
            raise UserError(f"plan: extra_context_tokens must not be negative, got {self.extra_context_tokens}")
        for fine, coarse in zip(self.windows, self.windows[1:], strict=False):
            if coarse % fine:
                raise UserError(f"plan: each window must divide the next coarser one, got {list(self.windows)}")

    def plan(self, base_num_tokens: int) -> Plan:
        """See `PlanFamily.plan`."""
        tokens = check_tokens(base_num_tokens, len(self.windows))
        top = len(self.windows) - 1
        extra_frames = self.extra_context_tokens // tokens[top]
        num_frames = sum(self.windows) + extra_frames
        first = num_frames - self.windows[top]
        steps: list[Step] = []

        def denoise(level: int, start: int, ends: dict[int, int]) -> None:
            """Denoise `level`'s window at `start`, then all finer levels under it; `ends` holds the windows above."""
            window = self.windows[level]
            targets = cells(level, start, start + window)
            steps.append(Step(self._context(level, start, ends, tokens), tuple(targets), group=level))
            if level:
                for fine_start in range(start, start + window, self.windows[level - 1]):
                    denoise(level - 1, fine_start, {**ends, level: start + window})

        denoise(top, first, {})
        return Plan(tuple(steps), base_num_tokens, len(self.windows), num_frames, first)

    def _context(self, target: int, start: int, ends: dict[int, int], tokens: list[int]) -> tuple[Cell, ...]:
        """Context cells of the step that denoises level `target` from frame `start`.

        Args:
            target: k, the level denoised.
            start: a, its first frame.
            ends: end of the current window of every coarser level.
            tokens: n_l of every level.
        """
        context: list[Cell] = []
        past_end = start
        ahead_start = start
        for level, window in enumerate(self.windows):
            if level < target:
                past = window
            elif level == target:
                past = self.extra_context_tokens // tokens[level]
            else:
                # A coarser level shows the frames ahead that the next finer one does not reach, the target's included.
                context += cells(level, ahead_start, ends[level])
                past = window - (ends[level] - ahead_start)
                ahead_start = ends[level]
            context += cells(level, past_end - past, past_end)
            past_end -= past
        return tuple(context)
