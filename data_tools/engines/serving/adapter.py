"""What every kind of engine offers to the server."""

from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np


class SettingsError(Exception):
    """The engine cannot do what was asked, and asking again cannot help; the message says what to mend."""


class MissingError(SettingsError):
    """The engine, or something that it needs, is not installed."""


class ActionColumns(NamedTuple):
    """What actions an engine takes.

    Attributes:
        kind: "discrete" (one id) or "vector" (one number for each column).
        names: of the ids or of the columns.
        units: of the columns.
        low, high: bounds of the columns, both included; empty for ids.
        whole: whether a column takes whole numbers only; empty for ids.
    """

    kind: str
    names: Sequence[str]
    units: Sequence[str] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    whole: Sequence[bool] = ()


class View(NamedTuple):
    """What an engine shows after a reset or a step.

    Attributes:
        frame: uint8 (H, W, 3) RGB.
        pose: x, y, z in blocks, yaw and pitch in degrees, or None.
        ended: whether the engine takes no further step.
    """

    frame: np.ndarray
    pose: Optional[List[float]]
    ended: bool


class Adapter:
    """Makes one kind of engine speak the protocol; subclasses import theirs when they are made.

    Attributes:
        actions: what actions it takes.
        fps: frames a second at which it is meant to be watched.
        packages: distributions whose versions an episode names.
        programs: names and versions of other programs.
    """

    actions: ActionColumns
    fps: float = 20.0
    packages: Tuple[str, ...] = ()
    programs: Tuple[Tuple[str, str], ...] = ()

    def reset(self, seed: int, world: int) -> View:
        """Begin an episode in `world`; `seed` chooses what else is left to chance."""
        raise NotImplementedError

    def step(self, action: Any) -> View:
        """Live through one frame of an int (discrete) or of a list of floats (vector)."""
        raise NotImplementedError

    def close(self) -> None:
        """End the engine."""
