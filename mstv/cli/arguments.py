"""Values of the command line that are checked before anything is loaded or written."""

import argparse
import math
import re
from collections.abc import Callable

from mstv.data.schema import KEY_PATTERN


def at_least(lowest: int) -> Callable[[str], int]:
    """The type of an integer that must not be lower."""

    def integer(text: str) -> int:
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}, got {value}")
        return value

    return integer


def guidance(text: str) -> float:
    """A guidance scale: finite, not negative."""
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"must be finite and not negative, got {text}")
    return value


def protocol(text: str) -> str:
    """A name that may be a folder's."""
    if not re.fullmatch(KEY_PATTERN, text):
        raise argparse.ArgumentTypeError(f"must hold letters, digits, - and _ alone, got {text!r}")
    return text
