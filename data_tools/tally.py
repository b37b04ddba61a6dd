"""Counting a set of episodes: a tally of each part, added up in order, then turned into statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from data_tools.episode_set import EpisodeArrays, Part
from data_tools.set_statistics import ActionColumn, ActionCount, ActionStatistics, SplitStatistics
from mstv.data.revisits import Tolerance, revisit_frames
from mstv.data.schema import ActionSpec

TURN_DEGREES = 0.1
"""A frame counts as turning if yaw or pitch differs by more than this from the frame before."""


@dataclass
class ActionTally:
    """Actions of some episodes with the same `ActionSpec`, without each episode's first frame.

    Attributes:
        episodes, frames, nulls: counted so far.
        counts: int64 (names,): frames with each discrete action, or with each column other than zero.
        mean, squares: float64 (A,): mean of each column, and sum of squares about it.
        low, high: float64 (A,): least and greatest value.
    """

    spec: ActionSpec
    episodes: int = 0
    frames: int = 0
    nulls: int = 0
    counts: np.ndarray = field(init=False)
    mean: np.ndarray = field(init=False)
    squares: np.ndarray = field(init=False)
    low: np.ndarray = field(init=False)
    high: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        size = self.spec.size
        self.counts = np.zeros(size, np.int64)
        self.mean, self.squares = np.zeros(size), np.zeros(size)
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)

    @classmethod
    def of(cls, spec: ActionSpec, actions: np.ndarray | None) -> ActionTally:
        """Tally of one episode; actions int16 (T,) or float32 (T, A), or None."""
        tally = cls(spec, episodes=1)
        if actions is None or len(actions) < 2:
            return tally
        rows = actions[1:]
        tally.frames = len(rows)
        if spec.kind == "discrete":
            tally.nulls = int((rows < 0).sum())
            tally.counts = np.bincount(rows[rows >= 0], minlength=spec.size)
            return tally
        rows = rows.astype(np.float64)
        tally.nulls = int((rows == 0).all(1).sum())
        tally.counts = (rows != 0).sum(0)
        tally.mean, tally.low, tally.high = rows.mean(0), rows.min(0), rows.max(0)
        tally.squares = np.square(rows - tally.mean).sum(0)
        return tally

    def add(self, other: ActionTally) -> None:
        """Add another tally with the same spec (Chan's parallel variance)."""
        frames = self.frames + other.frames
        if other.frames:
            difference = other.mean - self.mean
            self.squares += other.squares + np.square(difference) * (self.frames * other.frames / frames)
            self.mean += difference * (other.frames / frames)
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        self.counts = self.counts + other.counts
        self.episodes, self.frames, self.nulls = self.episodes + other.episodes, frames, self.nulls + other.nulls

    def statistics(self) -> ActionStatistics:
        """The result."""
        kind, frames = self.spec.kind, self.frames
        null = self.nulls / frames if frames else None
        shares = self.counts / max(frames, 1)
        if kind == "discrete":
            rows = zip(self.spec.names, self.counts.tolist(), shares.tolist(), strict=True)
            counts = tuple(ActionCount(name=name, frames=count, share=share) for name, count, share in rows)
            return ActionStatistics(kind=kind, episodes=self.episodes, frames=frames, null=null, counts=counts)
        columns = tuple(
            ActionColumn(
                name=name,
                unit=self.spec.units[index],
                mean=float(self.mean[index]),
                std=float(np.sqrt(self.squares[index] / frames)),
                minimum=float(self.low[index]),
                maximum=float(self.high[index]),
                nonzero=float(shares[index]),
            )
            for index, name in enumerate(self.spec.names)
            if frames
        )
        return ActionStatistics(kind=kind, episodes=self.episodes, frames=frames, null=null, columns=columns)


@dataclass
class Tally:
    """Counts over some episodes; memory grows with the number of worlds alone.

    Attributes:
        seconds: playing time.
        steps: pairs of successive frames whose poses are both known.
        distance, turns: blocks walked in the plane, and turning frames, over these.
        revisits: frames by gap.
        actions: by the JSON of their spec.
    """

    episodes: int = 0
    frames: int = 0
    seconds: float = 0.0
    num_bytes: int = 0
    pose_frames: int = 0
    steps: int = 0
    distance: float = 0.0
    turns: int = 0
    revisits: dict[int, int] = field(default_factory=dict)
    worlds: set[str] = field(default_factory=set)
    fps: set[float] = field(default_factory=set)
    image_sizes: set[tuple[int, int]] = field(default_factory=set)
    actions: dict[str, ActionTally] = field(default_factory=dict)

    @classmethod
    def of_part(cls, part: Part, gaps: Sequence[int], tolerance: Tolerance) -> Tally:
        """Tally of a part, its episodes read one after another; no video is read.

        Raises:
            UserError: a record or an array is missing or damaged.
        """
        tally = cls.sum(cls._of_episode(part.arrays(key), gaps, tolerance) for key in part.keys)
        tally.num_bytes = part.num_bytes
        return tally

    @classmethod
    def sum(cls, tallies: Iterable[Tally]) -> Tally:
        """All tallies added up, in order, so that the same tallies give the same sum."""
        total = cls()
        for tally in tallies:
            for name in ("episodes", "frames", "seconds", "num_bytes", "pose_frames", "steps", "distance", "turns"):
                setattr(total, name, getattr(total, name) + getattr(tally, name))
            for gap, frames in tally.revisits.items():
                total.revisits[gap] = total.revisits.get(gap, 0) + frames
            total.worlds |= tally.worlds
            total.fps |= tally.fps
            total.image_sizes |= tally.image_sizes
            for name, actions in tally.actions.items():
                total.actions.setdefault(name, ActionTally(actions.spec)).add(actions)
        return total

    @classmethod
    def _of_episode(cls, episode: EpisodeArrays, gaps: Sequence[int], tolerance: Tolerance) -> Tally:
        record, actions, poses = episode
        tally = cls(
            episodes=1,
            frames=record.num_frames,
            seconds=record.num_frames / record.fps,
            worlds={record.source.world},
            fps={record.fps},
            image_sizes={(record.height, record.width)},
            actions={record.actions.model_dump_json(): ActionTally.of(record.actions, actions)},
        )
        if poses is None:
            return tally
        finite = np.isfinite(poses).all(1)
        steps = np.diff(poses.astype(np.float64), axis=0)[finite[1:] & finite[:-1]]
        yaw = np.abs(steps[:, 3]) % 360.0
        turned = (np.minimum(yaw, 360.0 - yaw) > TURN_DEGREES) | (np.abs(steps[:, 4]) > TURN_DEGREES)
        tally.pose_frames, tally.steps = int(finite.sum()), len(steps)
        tally.distance = float(np.hypot(steps[:, 0], steps[:, 2]).sum())
        tally.turns = int(turned.sum())
        tally.revisits = revisit_frames(poses, gaps, tolerance)
        return tally

    def statistics(self, split: str) -> SplitStatistics:
        """The result; `split` is its name."""
        known = self.pose_frames > 0
        return SplitStatistics(
            split=split,
            episodes=self.episodes,
            frames=self.frames,
            worlds=len(self.worlds),
            hours=self.seconds / 3600,
            num_bytes=self.num_bytes,
            pose_frames=self.pose_frames,
            distance=self.distance if known else None,
            turning=self.turns / self.steps if self.steps else None,
            revisit_rate={gap: count / self.pose_frames for gap, count in self.revisits.items()} if known else None,
        )
