"""Where an episode comes back to: frames that show a place which was in view much earlier."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from mstv.compare.comparison import Comparison

MIN_GAP = 32
"""Frames since a place was first seen, for its view to count as a revisit."""
MAX_SHOWN = 8
"""Revisits of an episode that the page names; its keys reach all."""


@dataclass(frozen=True)
class Revisit:
    """The walk comes to a view that it had before."""

    frame: int
    first_seen: int

    @property
    def gap(self) -> int:
        """Frames between both."""
        return self.frame - self.first_seen


@dataclass(frozen=True)
class Revisits:
    """Revisits of one episode."""

    frames: tuple[int, ...]
    """Every generated frame whose view is at least `MIN_GAP` frames old."""
    first_seen: tuple[int, ...]
    """Of each of `frames`."""
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
            return {episode: find_revisits(*columns) for episode, columns in known.items()}
    return {}


def find_revisits(frame: Int[np.ndarray, " N"], first_seen: Int[np.ndarray, " N"]) -> Revisits:
    """Revisits among frames whose earliest view is known.

    Someone who stands still looks at an ever older view, frame by frame; that is not coming back.

    Args:
        frame: ascending.
        first_seen: earliest frame with the same view, at most `frame`.
    """
    gap = frame - first_seen
    old = gap >= MIN_GAP
    begins = old & ~np.concatenate([[False], old[:-1]])
    arrived = begins & np.concatenate([[True], np.diff(gap) > 1])
    arrivals = tuple(Revisit(int(frame[at]), int(first_seen[at])) for at in np.flatnonzero(arrived))
    return Revisits(tuple(frame[old].tolist()), tuple(first_seen[old].tolist()), arrivals)
