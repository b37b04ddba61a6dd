"""The player's body: walking, climbing single steps, falling and jumping, all in integers."""

from __future__ import annotations

from data_tools.engines.blockworld.trig import FULL_TURN, sin_cos
from data_tools.engines.blockworld.world import World

BLOCK = 7_372_800
"""Units of length in a block; divisible by 9 (a step of a discrete action), 100 (the body's sizes) and powers of 2."""
RADIUS = BLOCK * 30 // 100
TALL = BLOCK * 180 // 100
EYE_HEIGHT = BLOCK * 162 // 100
MAX_PITCH = 89_000

_GRAVITY = BLOCK // 16  # added to the falling speed each frame
_JUMP = 6 * _GRAVITY  # rises 21/16 of a block
_FASTEST_FALL = BLOCK
_CLIMB = BLOCK // 6  # how fast the eye catches up after a step up
_STRIDE = BLOCK // 4  # longest move that is tested for collisions at once


class Player:
    """A body in a world: a square pillar of half-width 0.3 and height 1.8 blocks.

    Attributes:
        x, y, z: middle of the soles in units of 1/BLOCK block, exact integers.
        yaw, pitch: integer millidegrees, yaw in [0, 360000), pitch in [-89000, 89000].
        lag: how far the eye still lags below its place after a step up, in units, in [0, EYE_HEIGHT].
    """

    def __init__(self, world: World, column_x: int, column_z: int, ground: int, yaw: int) -> None:
        self.world = world
        self.x = column_x * BLOCK + BLOCK // 2
        self.y = ground * BLOCK
        self.z = column_z * BLOCK + BLOCK // 2
        self.yaw = yaw % FULL_TURN
        self.pitch = 0
        self.lag = 0
        self._speed = 0  # upwards, units a frame
        self._last_ground = self.y

    def turn(self, yaw: int, pitch: int = 0) -> None:
        """Turn by millidegrees: yaw to the right, pitch downwards; pitch stops at +-89 degrees."""
        self.yaw = (self.yaw + yaw) % FULL_TURN
        self.pitch = min(max(self.pitch + pitch, -MAX_PITCH), MAX_PITCH)

    def step(self, forward: int, right: int = 0, jump: bool = False, whole: bool = False) -> None:
        """Live through one frame: move by units along and across the heading, then rise or fall.

        What blocks the way stops the move along that axis: where it is met, in strides of at most a quarter of a block,
        or before it begins if `whole`, so that positions keep to the lattice of the moves.
        """
        sine, cosine = sin_cos(self.yaw)
        self.lag = max(0, self.lag - _CLIMB)
        move_x = round(-sine * forward) + round(-cosine * right)
        move_z = round(cosine * forward) + round(-sine * right)
        start_x, start_z = self.x, self.z
        strides = 1 + max(abs(move_x), abs(move_z)) // _STRIDE
        for stride in range(strides):
            part_x = move_x * (stride + 1) // strides - move_x * stride // strides
            part_z = move_z * (stride + 1) // strides - move_z * stride // strides
            if part_x:
                self._shift(part_x, 0)
            if part_z:
                self._shift(0, part_z)
        if whole and self.x != start_x + move_x:
            self.x = start_x
        if whole and self.z != start_z + move_z:
            self.z = start_z
        self._rise_or_fall(jump)

    def _columns(self, x: int, z: int) -> tuple[int, ...]:
        """The barred bits of the one to four columns that the body stands in; all ones outside the map."""
        size, columns = self.world.size, self.world.columns
        first_x, last_x = (x - RADIUS) // BLOCK, (x + RADIUS - 1) // BLOCK
        first_z, last_z = (z - RADIUS) // BLOCK, (z + RADIUS - 1) // BLOCK
        if first_x < 0 or first_z < 0 or last_x >= size or last_z >= size:
            return (-1,)
        return tuple(columns[i * size + j] for i in range(first_x, last_x + 1) for j in range(first_z, last_z + 1))

    def _free(self, x: int, y: int, z: int) -> bool:
        low, high = y // BLOCK, (y + TALL - 1) // BLOCK
        body = ((1 << (high - low + 1)) - 1) << low
        return high < self.world.height and not any(column & body for column in self._columns(x, z))

    def _shift(self, move_x: int, move_z: int) -> None:
        x, z = self.x + move_x, self.z + move_z
        if self._free(x, self.y, z):
            self.x, self.z = x, z
            return
        step = (self.y // BLOCK + 1) * BLOCK
        # Measured from the last ground stood on, so that a jump does not climb two blocks.
        if step <= self._last_ground + BLOCK and self._free(self.x, step, self.z) and self._free(x, step, z):
            lag = self.lag + step - self.y
            # Climbs that follow each other faster than the eye does would leave it in the ground.
            self.lag = lag if lag <= EYE_HEIGHT else BLOCK
            self.x, self.y, self.z = x, step, z
            self._last_ground, self._speed = step, 0

    def _rise_or_fall(self, jump: bool) -> None:
        below = (1 << (self.y // BLOCK)) - 1
        if self.y % BLOCK:
            below = 2 * below + 1
        ground = BLOCK * max((column & below).bit_length() for column in self._columns(self.x, self.z))
        if self.y == ground and self._speed <= 0:
            self._last_ground, self._speed = ground, 0
            if not jump:
                return
            self._speed = _JUMP + _GRAVITY
        self._speed = max(self._speed - _GRAVITY, -_FASTEST_FALL)
        y = self.y + self._speed
        if y <= ground:
            self.y, self._speed, self._last_ground = ground, 0, ground
        elif self._speed > 0 and not self._free(self.x, y, self.z):
            self._speed = 0
        else:
            self.y = y
