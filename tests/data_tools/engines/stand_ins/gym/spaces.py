"""Old spaces: no `start`, no `noop` but MineRL's."""

from collections import OrderedDict

import numpy as np


class Discrete:
    def __init__(self, n):
        self.n = n

    def noop(self):
        return 0

    def contains(self, value):
        return value in range(self.n)


class Box:
    def __init__(self, low, high, shape, dtype=np.float32):
        self.low, self.high = np.full(shape, low, dtype), np.full(shape, high, dtype)
        self.shape, self.dtype = shape, np.dtype(dtype)

    def noop(self):
        return np.zeros(self.shape, self.dtype)

    def contains(self, value):
        return (
            isinstance(value, np.ndarray)
            and value.dtype == self.dtype
            and value.shape == self.shape
            and bool((value >= self.low).all() and (value <= self.high).all())
        )


class Enum:
    def __init__(self, *values):
        self.values = values

    def noop(self):
        return self.values[0]

    def contains(self, value):
        return value in self.values


class Dict:
    def __init__(self, spaces):
        self.spaces = OrderedDict(sorted(spaces.items()))

    def noop(self):
        return OrderedDict((key, space.noop()) for key, space in self.spaces.items())

    def contains(self, value):
        return set(value) == set(self.spaces) and all(self.spaces[key].contains(value[key]) for key in value)
