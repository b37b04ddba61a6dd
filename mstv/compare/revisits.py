"""Where an episode comes back to: frames that show a place again which was out of view for a while."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from mstv.compare.comparison import Comparison

MAX_SHOWN = 8
"""Revisits of an episode that the page names; its keys reach all."""


@dataclass(frozen=True)
class Revisit:
    """The walk comes back to a place."""

    frame: int
    last_seen: int

    @property
    def gap(self) -> int:
        """Frames between both."""
        return self.frame - self.last_seen


@dataclass(frozen=True)
class Revisits:
    """Revisits of one episode."""

    frames: tuple[int, ...]
    """Every generated frame that shows a place again."""
    last_seen: tuple[int, ...]
    """Of each of `frames`, the frame of the latest visit before."""
    arrivals: tuple[Revisit, ...]
    """Where a stretch of such frames begins, in order."""

    @property
    def shown(self) -> tuple[Revisit, ...]:
        """The arrivals after the longest gaps, in order of time."""
        longest = sorted(self.arrivals, key=lambda revisit: -revisit.gap)[:MAX_SHOWN]
        return tuple(sorted(longest, key=lambda revisit: revisit.frame))


def read_revisits(comparison: Comparison) -> dict[str, Revisits]:
    """Revisits by episode, from the first run that knows them: they are the recorded walks', the same for all runs.

    Raises:
        UserError: a file is damaged.
    """
    for entry in comparison.entries:
        if known := entry.evaluation.revisits():
            return {episode: stretches(*columns) for episode, columns in known.items()}
    return {}


def stretches(frame: Int[np.ndarray, " N"], last_seen: Int[np.ndarray, " N"]) -> Revisits:
    """Revisits of one episode, with what begins each stretch of them.

    Args:
        frame: ascending.
        last_seen: of each, the frame of the latest visit before.
    """
    arrived = np.diff(frame, prepend=-2) > 1
    arrivals = tuple(Revisit(int(frame[at]), int(last_seen[at])) for at in np.flatnonzero(arrived))
    return Revisits(tuple(frame.tolist()), tuple(last_seen.tolist()), arrivals)
