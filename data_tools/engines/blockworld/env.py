"""BlockWorld as a Gymnasium environment: one step is one frame.

Axes and angles are Minecraft's: x east, y up, z south, in blocks. Yaw 0 looks along +z, yaw 90 along -x: yaw grows
when turning right. Pitch is positive when looking down.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from data_tools.engines.blockworld.arena import build_arena
from data_tools.engines.blockworld.noise import hash_grid
from data_tools.engines.blockworld.player import BLOCK, EYE_HEIGHT, Player
from data_tools.engines.blockworld.renderer import Eye, Renderer
from data_tools.engines.blockworld.rooms import PITCH, build_rooms
from data_tools.engines.blockworld.trig import FULL_TURN
from data_tools.engines.blockworld.world import World, build_world
from data_tools.engines.walk import FRAMES_PER_ACTION, ActionMode, WalkActions

_QUARTER_TURN = FULL_TURN // 4


class BlockWorldEnv(gymnasium.Env[NDArray[np.uint8], Any]):
    """A walk through a voxel world in the look of Minecraft, the same bytes on every x86-64 machine.

    `reset(seed=...)` chooses where the walk starts and which of the four directions it faces; `world` chooses the
    map, and `reset(options={"world": int})` changes it. Episodes never end by themselves.

    Actions per frame, by `action_mode`:
        "discrete": 0 forward by 1/9 block, 1 and 2 turn left and right by 10 degrees; other steps by
            `frames_per_action`.
        "vector": float32 (5,): `move` and `strafe` (blocks, forward and right positive, in [-1, 1]), `jump` (in
            [0, 1], from 0.5 on a jump if standing), `yaw_degrees` and `pitch_degrees` (in [-180, 180], right and
            down positive, applied to the thousandth before the move; pitch stops at +-89).

    Observations are uint8 (H, W, 3), RGB. `info` holds `pose`, float32 (5,): x, y, z of the soles below the eye in
    blocks, yaw in [0, 360) and pitch in degrees, which together fix the frame; and `world`, the map's seed.

    Args:
        world: seed of the map, >= 0.
        size: frame size in pixels, one int for a square or (height, width).
        action_mode: see above.
        map_size: blocks along x and z, in [64, 1024].
        map_height: blocks along y, in [40, 200].
        view_distance: blocks one sees, in (0, 1024].
        fov: vertical field of view in degrees, in [10, 150].
        arena: instead of a landscape, which `map_size` and `map_height` describe, a walled court of so many blocks a
            side, in [2, 32] (see `arena.py`); 0 is the landscape.
        rooms: instead of a landscape, so many rooms along x and z, in [1, 16] (see `rooms.py`); a discrete step then
            leads to the next room, 7 blocks on, in one frame; 0 is the landscape.
        frames_per_action: discrete actions walk a block, or turn by 90 degrees, in so many frames: 1, 2, 3, 4, 5, 6, 8,
            9 or 10.
        render_mode: "rgb_array" or None; `render()` returns the last frame.

    Attributes:
        action_names, action_units: one name and one unit for each discrete action or vector column.

    Raises:
        ValueError: for an argument out of range.
    """

    packages = ("numba", "numpy", "gymnasium")
    """Distributions that make the pictures."""
    metadata = {  # noqa: RUF012 - as gymnasium declares it
        "render_modes": ["rgb_array"],
        "render_fps": 20,
    }

    def __init__(
        self,
        world: int = 0,
        size: int | tuple[int, int] = 128,
        action_mode: ActionMode = "discrete",
        map_size: int = 128,
        map_height: int = 48,
        view_distance: float = 64.0,
        fov: float = 70.0,
        arena: int = 0,
        rooms: int = 0,
        frames_per_action: int = FRAMES_PER_ACTION,
        render_mode: str | None = "rgb_array",
    ) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        if not (1 <= height <= 4096 and 1 <= width <= 4096):
            raise ValueError(f"size must be in [1, 4096] pixels, got {size}")
        if not 1 <= frames_per_action <= 10 or BLOCK % frames_per_action or _QUARTER_TURN % frames_per_action:
            raise ValueError(f"frames_per_action must be one of 1, 2, 3, 4, 5, 6, 8, 9, 10, got {frames_per_action}")
        self._actions = WalkActions(action_mode, frames_per_action)
        self._frames_per_action = frames_per_action
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        if not 0 < view_distance <= 1024:
            raise ValueError(f"view_distance must be in (0, 1024] blocks, got {view_distance}")
        if not 10 <= fov <= 150:
            raise ValueError(f"fov must be in [10, 150] degrees, got {fov}")
        self.render_mode = render_mode
        self.action_mode = action_mode
        self._map = (map_size, map_height)
        if arena and rooms:
            raise ValueError(f"choose arena ({arena}) or rooms ({rooms}), not both")
        if rooms and frames_per_action != 1:
            raise ValueError(
                f"rooms: a step leads to the next room, so frames_per_action must be 1, got {frames_per_action}"
            )
        self._arena, self._rooms = arena, rooms
        self._world = self._build(int(world))
        self._renderer = Renderer(height, width, fov, view_distance)
        self._player: Player | None = None
        self._frame: NDArray[np.uint8] | None = None
        self.observation_space = gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.action_names, self.action_units = self._actions.names, self._actions.units
        self.action_space: gymnasium.Space[Any] = self._actions.space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start a walk; `options` may hold "world", another map's seed.

        Raises:
            ValueError: for any other option, or a world that is not an int >= 0.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        world = options.pop("world", self._world.seed)
        if options:
            raise ValueError(f"unknown reset options {sorted(options)}, only 'world' is known")
        if isinstance(world, bool) or not isinstance(world, int | np.integer):
            raise ValueError(f"option 'world' must be an int, got {world!r}")
        if world != self._world.seed:
            self._world = self._build(int(world))
        # Raw bits, because numpy fixes the stream of its bit generators but not of `Generator.integers`.
        chance = hash_grid(int(self.np_random.bit_generator.random_raw()), [0, 1])
        x, z, ground = self._world.spawns[int(chance[0] % np.uint64(len(self._world.spawns)))]
        self._player = Player(self._world, int(x), int(z), int(ground), int(chance[1] % np.uint64(4)) * _QUARTER_TURN)
        return self._look(self._player)

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Live through one frame; the reward is 0 and the walk never ends.

        Raises:
            ValueError: for an action outside the action space, or not finite.
            RuntimeError: before the first reset.
        """
        if self._player is None:
            raise RuntimeError("call reset() before step()")
        if self.action_mode == "discrete":
            chosen = self._actions.choice(action)
            if chosen == 0:
                self._player.step((PITCH if self._rooms else 1) * BLOCK // self._frames_per_action, whole=True)
            else:
                turn = _QUARTER_TURN // self._frames_per_action
                self._player.turn(-turn if chosen == 1 else turn)
                self._player.step(0)
        else:
            move, strafe, jump, yaw, pitch = self._actions.vector(action)
            self._player.turn(round(yaw * 1000.0), round(pitch * 1000.0))
            self._player.step(round(move * BLOCK), round(strafe * BLOCK), jump >= 0.5)
        frame, info = self._look(self._player)
        return frame, 0.0, False, False, info

    def render(self) -> NDArray[np.uint8] | None:
        """Return a copy of the last frame, uint8 (H, W, 3), or None without a render mode."""
        return None if self.render_mode is None or self._frame is None else self._frame.copy()

    def _build(self, seed: int) -> World:
        if self._rooms:
            return build_rooms(seed, self._rooms)
        return build_arena(seed, self._arena) if self._arena else build_world(seed, *self._map)

    def _look(self, player: Player) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        sole = player.y - player.lag
        eye = Eye(player.x / BLOCK, (sole + EYE_HEIGHT) / BLOCK, player.z / BLOCK, player.yaw, player.pitch)
        self._frame = self._renderer.draw(self._world, eye)
        yaw, pitch = player.yaw / (FULL_TURN // 360), player.pitch / 1000
        pose = np.array([eye.x, sole / BLOCK, eye.z, yaw, pitch], dtype=np.float32)
        return self._frame.copy(), {"pose": pose, "world": self._world.seed}
