"""Files that others wrote, read without trust: whatever is wrong with one is a UserError naming file and field."""

import io
import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType

import numpy as np

from mstv.errors import UserError

_LARGEST = 1e30
"""Far from the end of float32, so that sums and units do not overflow."""
_LONGEST_NAME, _DEEPEST = 200, 10
FIX = "download it again, or use --skip-bad to go on without it"


class DamagedError(UserError):
    """A recording cannot be used; --skip-bad goes on without it, which it does not after any other mistake."""


def bad(where: str | Path, problem: str) -> DamagedError:
    """The error of a damaged file, in one line whatever the problem quotes from it."""
    quoted = "".join(c if c.isprintable() else "?" for c in problem)
    return DamagedError(f"{where}: {quoted}: {FIX}")


def read_text(path: Path) -> str:
    """A file's UTF-8 text.

    Raises:
        UserError: no such file, not readable, or not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise bad(path, "is not UTF-8 text") from None
    except OSError as error:
        raise bad(path, f"cannot be read ({error.strerror})") from None


def parse_json(text: str, where: str | Path) -> object:
    """The value of JSON text.

    Raises:
        UserError: not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad(where, f"not valid JSON ({error})") from None


def field(value: object, name: str, where: str | Path) -> object:
    """Field `name` of a JSON object; a dot leads into an object within it.

    Raises:
        UserError: it is not an object, or has no such field.
    """
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise bad(where, f"field {name} is missing")
        value = value[part]
    return value


def number(value: object, name: str, where: str | Path) -> float:
    """Field `name` of a JSON object as a finite float.

    Raises:
        UserError: it is missing, or not a finite number.
    """
    found = field(value, name, where)
    try:
        result = float(found) if isinstance(found, int | float) else math.nan
    except OverflowError:
        result = math.inf
    if not abs(result) < _LARGEST:
        raise bad(where, f"field {name} is {_brief(found)}, not a finite number below 1e30")
    return result


def integer(value: object, name: str, where: str | Path, low: int, high: int) -> int:
    """Field `name` of a JSON object as a whole number in [low, high]; true and false count as 1 and 0.

    Raises:
        UserError: it is missing, or something else.
    """
    result = number(value, name, where)
    if not (low <= result <= high and result == int(result)):
        raise bad(where, f"field {name} is {_brief(result)}, not a whole number in {low}..{high}")
    return int(result)


def items(value: object, name: str, where: str | Path, kind: type | UnionType, length: int | None = None) -> list:
    """Field `name` of a JSON object as a list of `kind`.

    Raises:
        UserError: it is missing, no list, of another length, or holds something else.
    """
    found = field(value, name, where)
    if not isinstance(found, list) or not all(isinstance(part, kind) for part in found):
        raise bad(where, f"field {name} is {_brief(found)}, not a list of {getattr(kind, '__name__', 'numbers')}")
    if length is not None and len(found) != length:
        raise bad(where, f"field {name} holds {len(found)} values, not {length}")
    return found


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file; pickled objects are refused.

    Raises:
        UserError: not a whole npy file.
    """
    array = _load(path)
    if not isinstance(array, np.ndarray):
        raise bad(path, "is no npy array")
    return array


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file; pickled objects are refused.

    Raises:
        UserError: not a whole npz file, or a member of it is none.
    """
    archive = _load(path)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise bad(path, "is no npz archive")
    arrays: dict[str, np.ndarray] = {}
    with archive:
        for name in archive.files:
            try:
                arrays[name] = archive[name]
            except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds on damaged members
                raise bad(path, f"field {name} cannot be read ({_brief(error)})") from None
            if not isinstance(arrays[name], np.ndarray):  # a member that does not begin as npy files do comes as bytes
                raise bad(path, f"field {name} is no npy array")
    return arrays


def _load(path: Path) -> object:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise bad(path, f"cannot be read ({error.strerror})") from None
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # as above
        raise bad(path, f"not a readable array file ({_brief(error)})") from None


def numeric(
    arrays: Mapping[str, np.ndarray],
    name: str,
    where: Path,
    shape: Sequence[int | None],
    kinds: str = "biuf",
) -> np.ndarray:
    """Array `name`, checked.

    Args:
        arrays: by name.
        name: of the array.
        where: names the file in errors.
        shape: expected; None fits any length.
        kinds: letters of numpy's kinds of dtype that will do: b, i, u, f.

    Raises:
        UserError: it is missing, has another dtype or shape, or holds a NaN or an infinity.
    """
    if name not in arrays:
        raise bad(where, f"field {name} is missing")
    array = arrays[name]
    fits = len(shape) == array.ndim and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if array.dtype.kind not in kinds or not fits:
        wanted = "x".join("any" if length is None else str(length) for length in shape)
        kind = "whole numbers" if "f" not in kinds else "numbers"
        raise bad(where, f"field {name} is {array.dtype} of shape {array.shape}, not {kind} of shape {wanted}")
    if array.dtype.kind == "f" and not (np.abs(array) < _LARGEST).all():
        raise bad(where, f"field {name} holds a NaN or an infinity")
    return array


def within(array: np.ndarray, name: str, where: Path, low: int, high: int) -> np.ndarray:
    """`array` of whole numbers, all in [low, high].

    Raises:
        UserError: one is not.
    """
    if array.size and not (array.min() >= low and array.max() <= high):
        raise bad(where, f"field {name} holds {array.min()}..{array.max()}, not values in {low}..{high}")
    return array


def inside(name: str, where: Path) -> Path:
    """A relative path that an index names, sure to stay below the folder that it is joined to.

    Raises:
        UserError: it is empty, absolute, climbs out, too long, or holds characters that no name does.
    """
    parts = name.split("/")
    too_long = any(len(part.encode(errors="replace")) > _LONGEST_NAME for part in parts) or len(parts) > _DEEPEST
    if not all(parts) or ".." in parts or too_long or any(c in name for c in "\\:\0"):
        raise UserError(f"{where}: entry {_brief(name)} is no path below this folder: correct the file")
    return Path(name)


def _brief(value: object) -> str:
    text = (str(value) if isinstance(value, Exception) else reprlib.repr(value)).replace("\n", " ")
    return text if len(text) <= 120 else f"{text[:117]}..."
