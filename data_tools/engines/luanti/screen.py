"""A screen in memory for the game to draw on, and the marker that tells which pose a picture shows."""

from __future__ import annotations

import mmap
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STRIP = 8
"""Pixels at the top and at the bottom of the window that hold the marker; as in clientmod/init.lua."""

_COLUMNS, _ROWS = 16, 2
_HALF = 1 << 23  # added to positions, in thousandths of a block
_GREY = 17  # levels between two digits
_START_SECONDS = 20.0


def owned(command: list[str]) -> list[str]:
    """The command, made to be killed by the kernel as soon as the thread that starts it is gone."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]


class Screen:
    """A virtual X screen whose pixels lie in a mapped file.

    Args:
        program: the X server, `Xvfb`.
        folder: an existing folder for the pixels, nobody else's.
        height, width: of the visible picture in pixels; the screen is 2 * STRIP higher.

    Attributes:
        display: what to put into DISPLAY.
        size: (height, width) of the whole screen.

    Raises:
        RuntimeError: the X server did not start.
    """

    def __init__(self, program: str, folder: Path, height: int, width: int) -> None:
        self.size = (height + 2 * STRIP, width)
        reader, writer = os.pipe()
        mode = f"{width}x{self.size[0]}x24"
        command = [program, "-displayfd", str(writer), "-screen", "0", mode, "-fbdir", str(folder)]
        command += ["-nolisten", "tcp", "-noreset"]
        with (folder / "xvfb.log").open("wb") as log:
            self._process = subprocess.Popen(
                owned(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writer,),
            )
        os.close(writer)
        try:
            self.display = f":{_read_line(reader, _START_SECONDS)}"
            self._map_pixels(folder / "Xvfb_screen0")
        except (OSError, ValueError) as error:
            self.close()
            raise RuntimeError(f"Xvfb did not start ({error})") from None
        finally:
            os.close(reader)
        middle = (np.arange(_COLUMNS) * width / _COLUMNS + width / _COLUMNS / 2).astype(int)
        cell = STRIP // _ROWS
        rows = np.arange(_ROWS) * cell + cell // 2
        self._cells = [np.ix_(rows + top, middle) for top in (0, self.size[0] - STRIP)]

    def _map_pixels(self, path: Path) -> None:
        with path.open("rb") as file:
            # An XWD file: 25 big-endian words, a name, colours of 12 bytes each, then the pixels.
            header = np.frombuffer(file.read(100), ">u4").astype(int)
            self._memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        start, stride = header[0] + 12 * header[19], header[12]
        height, width = self.size
        if (header[5], header[4], header[11]) != (height, width, 32):
            raise ValueError(f"screen of {header[4]}x{header[5]} pixels with {header[11]} bits")
        rows = np.frombuffer(self._memory, np.uint8, height * stride, start).reshape(height, stride)
        self._pixels = rows[:, : 4 * width].reshape(height, width, 4)

    def picture(self) -> NDArray[np.uint8]:
        """A copy of what is shown between the strips, uint8 (height, width, 3), RGB."""
        return np.ascontiguousarray(self._pixels[STRIP:-STRIP, :, 2::-1])

    def pose(self) -> tuple[int, int, int, int, int] | None:
        """The pose whose picture is shown, or None while a picture is being copied or there is no marker.

        The game's picture is copied from top to bottom, and one pose gives one picture; so where both strips show
        the same pose, what lies between them is its picture.

        Returns:
            x, y, z of the feet in thousandths of a block, in the game's axes; yaw in [0, 360000) and pitch in
            millidegrees, by the game's senses of rotation.
        """
        bottom = self._digits(1)
        if bottom is None or bottom != self._digits(0):
            return None
        fields = [int(bottom[start:stop], 16) for start, stop in ((0, 6), (6, 12), (12, 18), (18, 23), (23, 28))]
        total = sum(place * int(digit, 16) for place, digit in enumerate(bottom[:28], 1))
        if int(bottom[28:], 16) != total + 1:
            return None
        return fields[0] - _HALF, fields[1] - _HALF, fields[2] - _HALF, fields[3], fields[4] - 90_000

    def _digits(self, strip: int) -> str | None:
        cells = self._pixels[self._cells[strip]].reshape(-1, 4)[:, :3].astype(int)
        digits = (cells + _GREY // 2) // _GREY
        # Grey, and close to its level.
        if (digits != digits[:, :1]).any() or (np.abs(cells - digits * _GREY) > 3).any():
            return None
        return "".join(f"{digit:x}" for digit in digits[:, 0])

    def close(self) -> None:
        """End the X server; calling it again does nothing."""
        if self._process.poll() is None:
            # Asked first, so that it takes away its socket and lock.
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


def _read_line(descriptor: int, seconds: float) -> str:
    text, end = b"", time.monotonic() + seconds
    while not text.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
            raise ValueError(f"no display within {seconds:g} s")
        part = os.read(descriptor, 64)
        if not part:
            raise ValueError("it ended at once")
        text += part
    return text.decode().strip()


def find_program(names: tuple[str, ...], folders: str) -> str | None:
    """The path of the first of these programs, in PATH or in `folders` (separated by colons)."""
    paths = [shutil.which(name, path=f"{os.environ.get('PATH', '')}:{folders}") for name in names]
    return next((path for path in paths if path), None)
