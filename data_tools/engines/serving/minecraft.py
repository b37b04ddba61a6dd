"""What both ways into Minecraft share: our walk, and the player's keys and mouse as columns."""

from typing import Any, Collection, Dict, List, NamedTuple, Tuple

from .adapter import ActionColumns, SettingsError

KEYS = ("forward", "back", "left", "right", "jump", "sneak", "sprint", "attack", "use")
"""Keys that have a column; those that open a window or end the episode stay up."""
CAMERA = ("camera_pitch", "camera_yaw")
TURN = 10.0  # degrees a frame: of the walk's turns, and the most that a camera column turns

_WALK = {"forward": ({"forward": 1}, 0.0), "turn_left": ({}, -TURN), "turn_right": ({}, TURN)}


class Controls(NamedTuple):
    """What a player does in one frame.

    Attributes:
        keys: 1 or 0 for each key that is spoken of.
        pitch, yaw: degrees by which the camera turns, down and right positive.
    """

    keys: Dict[str, int]
    pitch: float
    yaw: float


class MinecraftActions:
    """The recorder's actions as controls.

    Args:
        mode: "discrete" has the ids of our walk, "vector" a column for each key and for the camera.
        known: the keys that the environment knows.

    Attributes:
        columns: what actions there are.

    Raises:
        SettingsError: an unknown mode, or an environment without the keys of a walk.
    """

    def __init__(self, mode: str, known: Collection[str]) -> None:
        keys = [key for key in KEYS if key in known]
        if "forward" not in keys:
            raise SettingsError("its actions hold no key `forward`: choose an environment with the player's keys")
        if mode == "discrete":
            self.columns = ActionColumns("discrete", tuple(_WALK), ("1 tick", "10 degrees", "10 degrees"))
        elif mode == "vector":
            count, turns = len(keys), len(CAMERA)
            self.columns = ActionColumns(
                "vector",
                tuple(keys) + CAMERA,
                ("0/1",) * count + ("degrees",) * turns,
                (0.0,) * count + (-TURN,) * turns,
                (1.0,) * count + (TURN,) * turns,
                (True,) * count + (False,) * turns,
            )
        else:
            raise SettingsError(f"has no action mode {mode!r}: choose discrete or vector")
        self._keys = keys

    def controls(self, action: Any) -> Controls:
        """The controls of an id or of a row of numbers."""
        if self.columns.kind == "discrete":
            keys, yaw = _WALK[self.columns.names[action]]
            return Controls(dict(keys), 0.0, yaw)
        count = len(self._keys)
        held = {key: int(value >= 0.5) for key, value in zip(self._keys, action)}
        return Controls(held, float(action[count]), float(action[count + 1]))


def pose(x: Any, y: Any, z: Any, yaw: Any, pitch: Any) -> List[float]:
    """Minecraft's own pose, whose axes and angles are ours, with the yaw in [0, 360)."""
    return [float(x), float(y), float(z), float(yaw) % 360.0, float(pitch)]


def width_height(size: Tuple[int, int]) -> Tuple[int, int]:
    """(H, W) as the (width, height) that Minecraft is asked for."""
    return int(size[1]), int(size[0])
