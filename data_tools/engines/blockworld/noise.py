"""Integer hashing: the only source of chance in the worlds."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Item = TypeVar("Item")
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014), elementwise."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash_grid(seed: int, x: ArrayLike, z: ArrayLike = 0) -> NDArray[np.uint64]:
    """Hash integer coordinates (broadcast together, at least one dimension) to uint64; any Python int is a seed."""
    x = np.atleast_1d(np.asarray(x)).astype(np.int64).astype(np.uint64)
    z = np.atleast_1d(np.asarray(z)).astype(np.int64).astype(np.uint64)
    start = np.full(1, (seed * _GOLDEN + 1) & _MASK, dtype=np.uint64)
    mixed = _mix(np.add(_mix(start), x * np.uint64(_GOLDEN), dtype=np.uint64))
    return _mix(np.add(mixed, z * np.uint64(0xD1B54A32D192ED03), dtype=np.uint64))


def salted(seed: int, purpose: str) -> int:
    """Derive an independent seed for one named purpose."""
    return int(hash_grid(seed, zlib.crc32(purpose.encode()))[0])


def value_noise(seed: int, x: NDArray[np.int64], z: NDArray[np.int64], period: int) -> NDArray[np.float64]:
    """Smooth noise in [0, 1] with one random value per `period` blocks; x and z broadcast together."""
    cell_x, cell_z = x // period, z // period
    u, v = (x - cell_x * period) / period, (z - cell_z * period) / period
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)

    def corner(i: int, j: int) -> NDArray[np.float64]:
        return (hash_grid(seed, cell_x + i, cell_z + j) >> np.uint64(40)).astype(np.float64) / float(1 << 24)

    low = corner(0, 0) * (1.0 - u) + corner(1, 0) * u
    high = corner(0, 1) * (1.0 - u) + corner(1, 1) * u
    return low * (1.0 - v) + high * v


class Dice:
    """A stream of random integers that no library version can change (numpy promises none for its Generator)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn = 0

    def below(self, bound: int) -> int:
        """Draw an int in [0, bound)."""
        self._drawn += 1
        return int(hash_grid(self._seed, self._drawn)[0] >> np.uint64(16)) % bound

    def between(self, low: int, high: int) -> int:
        """Draw an int in [low, high], both ends included."""
        return low + self.below(high - low + 1)

    def choice(self, items: Sequence[Item]) -> Item:
        """Draw one of `items`."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """Return a shuffled copy (Fisher-Yates)."""
        items = list(items)
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]
        return items
