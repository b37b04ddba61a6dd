"""Any Gym or Gymnasium action space as named columns of numbers, and back."""

from typing import Any, Callable, List, NamedTuple, Sequence, Tuple

import numpy as np

from .adapter import ActionColumns, SettingsError


class _Part(NamedTuple):
    """One elementary space: its columns and how their numbers become its action."""

    names: List[str]
    low: List[float]
    high: List[float]
    whole: bool
    build: Callable[[np.ndarray], Any]


class SpaceColumns:
    """Columns of a space; spaces are told apart by the names of their classes, which gym and gymnasium share.

    Args:
        space: Discrete, Box, MultiBinary, MultiDiscrete, or a Dict or Tuple of such.

    Attributes:
        actions: the columns.

    Raises:
        SettingsError: a space that has no columns of numbers, such as text.
    """

    def __init__(self, space: Any) -> None:
        self._parts: List[_Part] = []
        self._tree = self._walk("", space)
        parts = self._parts
        names = [name for part in parts for name in part.names]
        self.actions = ActionColumns(
            kind="vector",
            names=names,
            units=[""] * len(names),
            low=[value for part in parts for value in part.low],
            high=[value for part in parts for value in part.high],
            whole=[part.whole for part in parts for _ in part.names],
        )

    def build(self, row: Sequence[float]) -> Any:
        """The space's own action of one row of numbers."""
        values = np.asarray(row, np.float64)
        built, start = [], 0
        for part in self._parts:
            end = start + len(part.names)
            built.append(part.build(values[start:end]))
            start = end
        return self._assemble(self._tree, iter(built))

    def _walk(self, name: str, space: Any) -> Tuple[str, Any]:
        kind = type(space).__name__
        if kind == "Dict":
            return "dict", {key: self._walk(_joined(name, key), child) for key, child in space.spaces.items()}
        if kind == "Tuple":
            return "tuple", [self._walk(_joined(name, str(n)), child) for n, child in enumerate(space.spaces)]
        self._parts.append(_elementary(name or "action", kind, space))
        return "part", None

    def _assemble(self, tree: Tuple[str, Any], built: Any) -> Any:
        kind, inner = tree
        if kind == "dict":
            return {key: self._assemble(child, built) for key, child in inner.items()}
        if kind == "tuple":
            return tuple(self._assemble(child, built) for child in inner)
        return next(built)


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else str(key)


def _elementary(name: str, kind: str, space: Any) -> _Part:
    if kind == "Discrete":
        start = int(getattr(space, "start", 0))
        return _Part([name], [start], [start + int(space.n) - 1], True, lambda row: int(np.rint(row[0])))
    if kind == "Box":
        shape, dtype = space.shape, space.dtype
        count = int(np.prod(shape, dtype=int))
        whole = np.dtype(dtype).kind in "iu"

        def box(row: np.ndarray) -> np.ndarray:
            return (np.rint(row) if whole else row).astype(dtype).reshape(shape)

        low, high = (np.asarray(bound, np.float64).reshape(-1).tolist() for bound in (space.low, space.high))
        return _Part(_numbered(name, count), low, high, whole, box)
    if kind == "MultiBinary":
        shape = space.shape if getattr(space, "shape", None) else (int(space.n),)
        count = int(np.prod(shape, dtype=int))
        return _Part(
            _numbered(name, count),
            [0] * count,
            [1] * count,
            True,
            lambda row: np.rint(row).astype(np.int8).reshape(shape),
        )
    if kind == "MultiDiscrete":
        sizes = np.asarray(space.nvec)
        starts = np.asarray(getattr(space, "start", np.zeros_like(sizes)))
        return _Part(
            _numbered(name, sizes.size),
            starts.reshape(-1).tolist(),
            (starts + sizes - 1).reshape(-1).tolist(),
            True,
            lambda row: np.rint(row).astype(np.int64).reshape(sizes.shape),
        )
    raise SettingsError(f"its action space holds a {kind}, which has no columns of numbers")


def _numbered(name: str, count: int) -> List[str]:
    return [name] if count == 1 else [f"{name}.{number}" for number in range(count)]
