"""Whether a video shows anything: black, blank and frozen pictures."""

from typing import NamedTuple

import numpy as np

from data_tools.image_motion import Motion

_BLACK = 28.0
"""Mean luma up to which a picture without contrast is black; 16 is black in limited range."""
_BLACK_SPREAD = 4.0
_BLANK_SPREAD = 1.0
"""Spread of luma up to which a picture is of one colour."""
_SAME = 0.25
"""Mean difference of luma up to which two pictures are the same, but for what the encoder changed."""
_MOST = 0.5
"""Share of an episode from which it is told of, whatever the actions are."""
_SHORTEST_RUN = 16
_LONGEST_FPS = 60.0
_MARGIN = 3
"""Actions so near to the ends of a run are not looked at, since they may stand a few frames off."""


class Run(NamedTuple):
    """Frames first..last, both inside."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.last - self.first + 1


def health_warnings(motion: Motion, actions: np.ndarray | None, fps: float) -> list[str]:
    """What is wrong with the pictures of an episode, one line each, with frame range and share.

    Told of are: black pictures for two seconds or half of the episode; pictures of one colour for half of it;
    pictures that stand still for a second while the action changes, or for half of it. A walker that pushes against a
    wall stands still too, but not while its action changes.

    Args:
        motion: of the T frames.
        actions: int16 (T,) or float32 (T, A), or None.
        fps: frames a second.
    """
    num_frames = len(motion.change)
    second = max(_SHORTEST_RUN, round(min(fps, _LONGEST_FPS)))
    black = (motion.brightness <= _BLACK) & (motion.spread <= _BLACK_SPREAD)
    blank = (motion.spread <= _BLANK_SPREAD) & ~black
    same = (motion.change <= _SAME) & ~black & ~blank
    same[:1] = False  # row 0 compares with nothing
    warnings = []
    black_runs = [run for run in _runs(black) if run.length >= 2 * second]
    if black_runs or black.mean() >= _MOST:
        warnings.append(_line("black", black_runs or _runs(black), int(black.sum()), num_frames))
    if blank.mean() >= _MOST:
        warnings.append(_line("of one colour", _runs(blank), int(blank.sum()), num_frames))
    if same.mean() >= _MOST:
        warnings.append(_line("like the one before (frozen)", _runs(same), int(same.sum()), num_frames))
    elif actions is not None:
        frozen = [run for run in _runs(same) if run.length >= second and _acts(actions, run)]
        if frozen:
            total = sum(run.length for run in frozen)
            warnings.append(_line("frozen, though the action changes", frozen, total, num_frames))
    return warnings


def _line(what: str, runs: list[Run], count: int, num_frames: int) -> str:
    longest = max(runs, key=lambda run: run.length)
    others = f", the longest of {len(runs)} runs" if len(runs) > 1 else ""
    share = 100 * count / num_frames
    return f"{share:.0f} % of its {num_frames} frames are {what}: frames {longest.first}..{longest.last}{others}"


def _runs(mask: np.ndarray) -> list[Run]:
    """The runs of True in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [Run(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def _acts(actions: np.ndarray, run: Run) -> bool:
    """Whether the action changes well inside a run: two ids that are not null, or a column that moves."""
    inside = actions[run.first + _MARGIN : run.last + 1 - _MARGIN]
    if actions.ndim == 1:
        return len(np.unique(inside[inside >= 0])) > 1
    usual = actions.std(0)
    return bool(((np.ptp(inside, axis=0) > usual) & (usual > 0)).any())
