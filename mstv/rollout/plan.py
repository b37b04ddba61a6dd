"""Steps and plans: which (level, frame) cells are denoised when, and what they are conditioned on."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mstv.errors import UserError


class Cell(NamedTuple):
    """All tokens of one frame at one level; `frame` counts from the chunk's first frame."""

    level: int
    frame: int


@dataclass(frozen=True)
class Step:
    """One entry of a plan: the cells that are shown clean and the cells that are denoised, each sorted.

    `group` is the sampling group of training: groups are equally likely, steps uniform inside a group.
    """

    context: tuple[Cell, ...]
    targets: tuple[Cell, ...]
    group: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "context", tuple(sorted(Cell(*cell) for cell in self.context)))
        object.__setattr__(self, "targets", tuple(sorted(Cell(*cell) for cell in self.targets)))
        cells = self.cells
        if not self.targets or len(set(cells)) != len(cells) or min(cell.frame for cell in cells) < 0:
            raise ValueError("a step needs targets, no cell twice and no frame before the chunk")

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Context first, targets last: the order of a step's tokens everywhere."""
        return self.context + self.targets

    @cached_property
    def frames(self) -> tuple[int, ...]:
        """The distinct frames that the step sees, ascending."""
        return tuple(sorted({cell.frame for cell in self.cells}))

    def num_tokens(self, base_num_tokens: int) -> int:
        """Tokens that the step sees, context and targets, when level 0 has `base_num_tokens` a frame."""
        return sum(base_num_tokens >> 2 * cell.level for cell in self.cells)


class Chunks(NamedTuple):
    """Where a plan is repeated for a rollout; all in frames of the episode.

    `end` is one past the last frame that is complete down to level 0; `limit` is one past the last frame touched.
    """

    starts: tuple[int, ...]
    end: int
    limit: int


@dataclass(frozen=True)
class Plan:
    """The ordered steps that generate one chunk of frames; repeated, they roll out any length.

    Args:
        steps: the steps, frames counted from the chunk's first frame.
        base_num_tokens: N0, tokens of one frame at level 0.
        num_levels: levels that the plan uses.
        num_frames: frames of one chunk.
        first_target_frame: first frame that the chunk denoises; those before are context.
        num_clipped_frames: frames at the chunk's end that it leaves without their finest levels.
    """

    steps: tuple[Step, ...]
    base_num_tokens: int
    num_levels: int
    num_frames: int
    first_target_frame: int
    num_clipped_frames: int = 0

    @property
    def advance(self) -> int:
        """A, the frames by which one chunk extends the video."""
        return self.num_frames - self.first_target_frame - self.num_clipped_frames

    @cached_property
    def num_tokens(self) -> tuple[int, ...]:
        """Tokens that each step sees."""
        return tuple(step.num_tokens(self.base_num_tokens) for step in self.steps)

    @cached_property
    def step_probability(self) -> tuple[float, ...]:
        """Probability of each step in training: groups equally likely, uniform inside a group."""
        groups = [step.group for step in self.steps]
        return tuple(1 / len(set(groups)) / groups.count(group) for group in groups)

    @cached_property
    def finished(self) -> tuple[int, ...]:
        """After each step, the frames from `first_target_frame` on that are known at level 0 without a gap.

        Each is in 0..advance, the last one is `advance`: the frames that may be decoded and shown so far.
        """
        known: set[int] = set()
        counts = []
        count = 0
        for step in self.steps:
            known.update(cell.frame for cell in step.targets if cell.level == 0)
            while count < self.advance and self.first_target_frame + count in known:
                count += 1
            counts.append(count)
        return tuple(counts)

    @cached_property
    def coarse_levels(self) -> tuple[int, ...]:
        """Levels beyond 0 that every frame has been denoised at when it is complete at level 0."""
        levels, known, count = range(1, self.num_levels), set[Cell](), 0
        kept = set(levels)
        for step, finished in zip(self.steps, self.finished, strict=True):
            known.update(step.targets)
            frames = range(self.first_target_frame + count, self.first_target_frame + finished)
            kept &= {level for level in levels if all((level, frame) in known for frame in frames)}
            count = finished
        return tuple(sorted(kept))

    def chunks(self, start: int, *, end: int | None = None, limit: int | None = None) -> Chunks:
        """Chunks that roll out from frame `start` at least to `end`, or as far as fits before `limit`.

        Args:
            start: frames of context that the episode begins with.
            end: one past the last frame wanted; the last chunk may go beyond it.
            limit: one past the last frame that any level may touch; give this or `end`.

        Raises:
            UserError: fewer context frames than the first chunk needs.
            ValueError: not exactly one of `end` and `limit`.
        """
        if (end is None) == (limit is None):
            raise ValueError("give exactly one of end and limit")
        if start < self.first_target_frame:
            raise UserError(
                f"context: the plan needs {self.first_target_frame} frames of context, got {start}: "
                "give more context or a plan with smaller windows"
            )
        if end is not None:
            count = max(0, -((start - end) // self.advance))
        else:
            assert limit is not None
            count = max(0, (limit - self.num_clipped_frames - start) // self.advance)
        first = start - self.first_target_frame
        reached = start + count * self.advance
        starts = tuple(first + index * self.advance for index in range(count))
        return Chunks(starts, reached, reached + self.num_clipped_frames)


class PlanFamily(ABC):
    """A way of planning with its parameters; it becomes a `Plan` once the tokens of a frame are known."""

    @abstractmethod
    def plan(self, base_num_tokens: int) -> Plan:
        """The plan for frames of `base_num_tokens` tokens at level 0.

        Raises:
            UserError: parameters that do not fit each other or the tokens.
        """

    def merged_plan(self, base_num_tokens: int) -> Plan:
        """The plan in the tokens that the transformer's blocks see, which is what it costs.

        It differs from `plan` where an input layer merges several latents into one token.
        """
        return self.plan(base_num_tokens)


def cells(level: int, start: int, stop: int) -> list[Cell]:
    """The cells of `level` over frames [start, stop)."""
    return [Cell(level, frame) for frame in range(start, stop)]


def check_tokens(base_num_tokens: int, num_levels: int) -> list[int]:
    """(n_0, ..., n_{L-1}) for `base_num_tokens`, each level a quarter of the one below.

    Raises:
        UserError: level 0 cannot be quartered that often.
    """
    if base_num_tokens % 4 ** (num_levels - 1):
        raise UserError(f"plan: {base_num_tokens} tokens cannot be quartered for {num_levels} levels: use fewer levels")
    return [base_num_tokens >> 2 * level for level in range(num_levels)]


def check_positive(name: str, values: Sequence[int]) -> None:
    """Raise UserError unless every value is at least 1."""
    if not values or min(values) < 1:
        raise UserError(f"plan: {name} must be positive integers, got {list(values)}")
