"""Luanti as a Gymnasium environment: one step is one frame.

Axes and angles are Minecraft's: x east, y up, z south, in blocks. Yaw 0 looks along +z, yaw 90 along -x: yaw grows
when turning right. Pitch is positive when looking down.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from data_tools.engines.luanti.game import Game, Pose, game_version, required_programs
from data_tools.engines.walk import FRAMES_PER_ACTION, ActionMode, WalkActions

BLOCK = 7_372_800
"""Units of length in a block, as in mod/init.lua; divisible by 9."""


class LuantiEnv(gymnasium.Env[NDArray[np.uint8], Any]):
    """A walk in Luanti (formerly Minetest), a real voxel game, in lock-step: a frame shows exactly its own action.

    `reset(seed=...)` chooses where the walk starts and which of the four directions it faces, within a bounded
    square of the map; `world` chooses the map, and `reset(options={"world": int})` changes it, which starts the game
    anew. Episodes never end by themselves. The game starts at the first reset.

    Actions per frame, by `action_mode`:
        "discrete": 0 forward by 1/9 block, 1 and 2 turn left and right by 10 degrees.
        "vector": float32 (5,): `move` and `strafe` (blocks, forward and right positive, in [-1, 1]), `jump` (in
            [0, 1], from 0.5 on a jump if standing), `yaw_degrees` and `pitch_degrees` (in [-180, 180], right and
            down positive, applied to the thousandth before the move; pitch stops at +-89).

    Observations are uint8 (H, W, 3), RGB. `info` holds `pose`, float32 (5,): x, y, z of the soles below the eye in
    blocks, yaw in [0, 360) and pitch in degrees; and `world`, the map's seed.

    Args:
        world: seed of the map, in [0, 2^63).
        size: frame size in pixels, one int for a square or (height, width); 64 to 2048 each.
        action_mode: see above.
        reach: half the side of the square in which one can walk, in blocks, a multiple of 4 in [16, 128].
        view_distance: blocks one sees, in [32, 160].
        fov: vertical field of view in degrees, in [60, 90].
        render_mode: "rgb_array" or None; `render()` returns the last frame.

    Attributes:
        programs: version of the game.
        action_names, action_units: one name and one unit for each discrete action or vector column.

    Raises:
        ValueError: for an argument out of range.
        UserError: the game or the X server is not installed.
    """

    packages = ("numpy", "gymnasium")
    """Distributions that make the pictures, beside the game."""
    metadata = {  # noqa: RUF012 - as gymnasium declares it
        "render_modes": ["rgb_array"],
        "render_fps": 20,
    }

    def __init__(
        self,
        world: int = 0,
        size: int | tuple[int, int] = 128,
        action_mode: ActionMode = "discrete",
        reach: int = 48,
        view_distance: int = 64,
        fov: float = 70.0,
        render_mode: str | None = "rgb_array",
    ) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        if not (64 <= height <= 2048 and 64 <= width <= 2048):
            raise ValueError(f"size must be in [64, 2048] pixels, got {size}")
        self._actions = WalkActions(action_mode)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        if not 16 <= reach <= 128 or reach % 4:
            raise ValueError(f"reach must be a multiple of 4 in [16, 128] blocks, got {reach}")
        if not 32 <= view_distance <= 160:
            raise ValueError(f"view_distance must be in [32, 160] blocks, got {view_distance}")
        if not 60 <= fov <= 90:
            raise ValueError(f"fov must be in [60, 90] degrees, got {fov}")
        self.programs = {"luanti": game_version(required_programs()["minetest"])}
        self.render_mode = render_mode
        self.action_mode = action_mode
        self._world = _checked_world(world)
        self._size = (height, width)
        self._reach, self._view_distance, self._fov = reach, view_distance, fov
        self._game: Game | None = None
        self._frame: NDArray[np.uint8] | None = None
        self.observation_space = gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.action_names, self.action_units = self._actions.names, self._actions.units
        self.action_space: gymnasium.Space[Any] = self._actions.space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start a walk; `options` may hold "world", another map's seed. A game that failed is started anew.

        Raises:
            ValueError: for any other option, or a world that is not an int in [0, 2^63).
            RuntimeError: the game does not start or does not answer.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        world = _checked_world(options.pop("world", self._world))
        if options:
            raise ValueError(f"unknown reset options {sorted(options)}, only 'world' is known")
        if world != self._world:
            self.close()
            self._world = world
        if self._game is None:
            self._game = Game(world, self._size, self._reach, self._view_distance, self._fov)
        # Raw bits, because numpy fixes the stream of its bit generators but not of `Generator.integers`.
        chance = int(self.np_random.bit_generator.random_raw())
        return self._order("start", chance % 2**31, chance >> 62)

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Live through one frame; the reward is 0 and the walk never ends.

        Raises:
            ValueError: for an action outside the action space, or not finite.
            RuntimeError: before the first reset; or the game has ended or does not answer in time, after which
                only `reset` helps.
        """
        if self._game is None:
            raise RuntimeError("call reset() before step()")
        if self.action_mode == "discrete":
            chosen = self._actions.choice(action)
            turn = (0, -90_000 // FRAMES_PER_ACTION, 90_000 // FRAMES_PER_ACTION)[chosen]
            frame, info = self._order("act", 0 if chosen else BLOCK // FRAMES_PER_ACTION, 0, 0, turn, 0)
        else:
            move, strafe, jump, yaw, pitch = self._actions.vector(action)
            frame, info = self._order(
                "act",
                round(move * BLOCK),
                round(strafe * BLOCK),
                int(jump >= 0.5),
                round(yaw * 1000.0),
                round(pitch * 1000.0),
            )
        return frame, 0.0, False, False, info

    def render(self) -> NDArray[np.uint8] | None:
        """Return a copy of the last frame, uint8 (H, W, 3), or None without a render mode."""
        return None if self.render_mode is None or self._frame is None else self._frame.copy()

    def close(self) -> None:
        """End the game; `reset` starts it again."""
        if self._game is not None:
            self._game.close()
            self._game = None

    def _order(self, *words: object) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        assert self._game is not None
        try:
            pose, self._frame = self._game.order(*words)
        except BaseException:
            # An interrupted order leaves an answer unread, so this game is of no more use.
            self.close()
            raise
        return self._frame.copy(), {"pose": _pose_array(pose), "world": self._world}


def _pose_array(pose: Pose) -> NDArray[np.float32]:
    x, y, z, yaw, pitch = pose
    return np.array([x, y, z, yaw / 1000, pitch / 1000], dtype=np.float32)


def _checked_world(world: Any) -> int:
    if isinstance(world, bool) or not isinstance(world, int | np.integer) or not 0 <= world < 2**63:
        raise ValueError(f"world must be an int in [0, 2^63), got {world!r}")
    return int(world)
