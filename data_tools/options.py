"""Types of command line options that several commands share."""

import argparse
import re
from pathlib import Path


def size(text: str) -> tuple[int, int]:
    """Read `N` or `HxW` as (H, W) in pixels, both even."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give N or HxW pixels, such as 128 or 64x128")
    height, width = int(match[1]), int(match[2] or match[1])
    if height < 2 or width < 2 or height % 2 or width % 2:
        raise argparse.ArgumentTypeError(f"{text!r}: height and width must be even and at least 2 pixels")
    return height, width


def positive(text: str) -> int:
    """Read an int >= 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 1")
    return int(text)


def natural(text: str) -> int:
    """Read an int >= 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 0")
    return int(text)


def rate(text: str) -> float:
    """Read frames a second, > 0."""
    return _above_zero(text, 1000, "is not a rate: give frames a second")


def folder(text: str) -> Path:
    """Read a folder's path; an empty one, as an unset variable gives, would be the present folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty: give a folder")
    return Path(text)


def names(text: str) -> tuple[str, ...]:
    """Read names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def fractions(text: str) -> tuple[float, float, float]:
    """Read three numbers separated by commas."""
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give three fractions, such as .8,.1,.1") from None
    return train, validation, test


def seconds(text: str) -> float:
    """Read a duration in seconds, > 0."""
    return _above_zero(text, 86400, "is no duration: give seconds")


def _above_zero(text: str, most: int, problem: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} {problem}, in (0, {most}]")
    return value


def pair(text: str) -> tuple[str, str | int | float | bool]:
    """Read NAME=VALUE; the value is a number, true, false or text."""
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=VALUE, such as max_steps=100")
    if value.lower() in ("true", "false"):
        return name, value.lower() == "true"
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add `--workers`, `--cluster` and `--cluster-address`."""
    parser.add_argument(
        "--workers", type=positive, default=2, help="worker processes; the result is the same for any (default: 2)"
    )
    parser.add_argument(
        "--cluster",
        choices=("ray", "dask"),
        help="run on a cluster, whose workers see the same folders (default: this machine's processes)",
    )
    parser.add_argument(
        "--cluster-address",
        metavar="HOST:PORT",
        help="of its scheduler (default: one is started on this machine for the while)",
    )
