"""The actions that our own engines share: a walk in discrete steps, or as a vector."""

from typing import Any, Literal

import gymnasium
import numpy as np

ActionMode = Literal["discrete", "vector"]
FRAMES_PER_ACTION = 9
"""A block forward, or 90 degrees, takes this many frames of a discrete action, unless another number is asked for."""

_VECTOR = {"move": "blocks", "strafe": "blocks", "jump": "0/1", "yaw_degrees": "degrees", "pitch_degrees": "degrees"}
_BOUNDS = np.array([1.0, 1.0, 1.0, 180.0, 180.0], dtype=np.float32)


def _discrete(frames: int) -> dict[str, str]:
    turn = f"{90 / frames:g} degrees"
    return {"forward": f"1/{frames} block" if frames > 1 else "1 block", "turn_left": turn, "turn_right": turn}


class WalkActions:
    """What one can do in a frame.

    Args:
        mode: "discrete": 0 forward by 1/9 block, 1 and 2 turn left and right by 10 degrees. "vector": float32 (5,):
            `move` and `strafe` (blocks, forward and right positive, in [-1, 1]), `jump` (in [0, 1], from 0.5 on a
            jump if standing), `yaw_degrees` and `pitch_degrees` (in [-180, 180], right and down positive).
        frames_per_action: discrete: frames for a block forward or 90 degrees; the numbers above are of 9.

    Attributes:
        names, units: one of each for every discrete action or vector column.
        space: of Gymnasium.

    Raises:
        ValueError: an unknown mode.
    """

    def __init__(self, mode: str, frames_per_action: int = FRAMES_PER_ACTION) -> None:
        if mode not in ("discrete", "vector"):
            raise ValueError(f"action_mode must be 'discrete' or 'vector', got {mode!r}")
        table = _discrete(frames_per_action) if mode == "discrete" else _VECTOR
        self.names, self.units = tuple(table), tuple(table.values())
        self._low = -_BOUNDS
        self._low[2] = 0.0
        self.space: gymnasium.Space[Any] = (
            gymnasium.spaces.Discrete(len(table))
            if mode == "discrete"
            else gymnasium.spaces.Box(self._low, _BOUNDS, dtype=np.float32)
        )

    def choice(self, action: Any) -> int:
        """A discrete action as an int.

        Raises:
            ValueError: it is none.
        """
        value = np.asarray(action)
        if value.shape != () or value.dtype.kind not in "iu" or not 0 <= value < len(self.names):
            raise ValueError(f"a discrete action must be an int in [0, {len(self.names) - 1}], got {action!r}")
        return int(value)

    def vector(self, action: Any) -> list[float]:
        """A vector action as (move, strafe, jump, yaw, pitch), rounded to float32.

        Raises:
            ValueError: it is none, a column is out of its bounds, or not finite.
        """
        value = np.asarray(action)
        if value.shape != (len(self.names),) or value.dtype.kind not in "iuf":
            raise ValueError(f"a vector action must be {len(self.names)} numbers {self.names}, got {action!r}")
        inside = (value >= self._low) & (value <= _BOUNDS)  # written so that NaN fails too
        if not inside.all():
            column = int(np.argmin(inside))
            low, high = self._low[column], _BOUNDS[column]
            raise ValueError(f"action column {self.names[column]} must be in [{low:g}, {high:g}], got {value[column]}")
        return value.astype(np.float32).tolist()
