"""Motion of the whole picture from frame to frame, estimated as the frames of a video come."""

from typing import NamedTuple

import numpy as np

_WIDTH = 64
"""Pictures are shrunk to about so many pixels a row: enough for a turn of half a degree, and cheap."""
_UPPER = 0.85
"""Share of the rows, from the top, whose motion is measured: bars and hands of games stand still below."""
_FARTHEST = 0.4
"""Largest shift that is looked for, as a share of width or height; beyond, too little of the picture is in both."""
_BATCH = 6
"""Pictures measured at once; with more, the arrays leave the fast caches."""
_SMALLEST = 8
"""Pictures with fewer rows or columns, once shrunk, are too small to tell a shift."""


class Motion(NamedTuple):
    """What the picture does, one float32 (T,) each; row t compares frames t - 1 and t, and row 0 is zero.

    Attributes:
        right: shift of the content to the right, as a share of the width, in [-0.4, 0.4].
        down: shift of the content downwards, as a share of the height, in [-0.4, 0.4].
        change: mean absolute difference of the luma, in [0, 255].
        brightness: mean luma of frame t, in [0, 255]; black is 16 in limited range.
        spread: standard deviation of the luma of frame t over the picture, in [0, 128].
    """

    right: np.ndarray
    down: np.ndarray
    change: np.ndarray
    brightness: np.ndarray
    spread: np.ndarray


class MotionEstimate:
    """Estimates the motion of one video by phase correlation; holds a few small pictures at a time."""

    def __init__(self) -> None:
        self._pictures: list[np.ndarray] = []
        self._rows: list[np.ndarray] = []

    def add(self, luma: np.ndarray) -> None:
        """Take the next frame: uint8 (H, W), the same size each time."""
        self._pictures.append(_shrunk(luma))
        if len(self._pictures) > _BATCH:
            self._flush()

    def motion(self) -> Motion:
        """The motion up to the last frame, T frames."""
        self._flush()
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, len(Motion._fields)), np.float32)
        return Motion(*rows.T)

    def _flush(self) -> None:
        """Measure all pictures held but the first, which was measured before, and keep the last."""
        if not self._pictures:
            return
        pictures = np.stack(self._pictures)
        if not self._rows:
            self._rows.append(_measured(pictures[[0, 0]]))
        if len(pictures) > 1:
            self._rows.append(_measured(pictures))
        self._pictures = self._pictures[-1:]


def _shrunk(luma: np.ndarray) -> np.ndarray:
    """The mean of each square of pixels: float32, about `_WIDTH` columns."""
    side = max(1, min(round(luma.shape[1] / _WIDTH), luma.shape[0]))
    if side == 1:
        return luma.astype(np.float32)
    rows, columns = luma.shape[0] // side, luma.shape[1] // side
    luma = luma[: rows * side, : columns * side]
    # Two products with vectors: several times faster than a mean over two axes.
    mean = np.full(side, 1 / side, np.float32)
    strips = mean @ luma.astype(np.float32).reshape(rows, side, columns * side)
    return (strips.reshape(-1, side) @ mean).reshape(rows, columns)


def _measured(pictures: np.ndarray) -> np.ndarray:
    """`Motion` of pictures 1..N by columns: float32 (N, 5) for pictures (N + 1, h, w)."""
    after = pictures[1:]
    change = np.abs(after - pictures[:-1]).mean((1, 2))
    height, width = pictures.shape[1:]
    right, down = _shifts(pictures[:, : max(1, int(height * _UPPER))])
    return np.stack([right / width, down / height, change, after.mean((1, 2)), after.std((1, 2))], 1).astype(np.float32)


def _shifts(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels to the right and down by which each picture but the first moved: (N,) each for pictures (N + 1, h, w).

    Phase correlation: the cross power spectrum, stripped of its magnitudes and transformed back, peaks at the shift.
    """
    height, width = pictures.shape[1:]
    if min(height, width) < _SMALLEST:
        return np.zeros(len(pictures) - 1), np.zeros(len(pictures) - 1)
    # A window that is zero at the border, where content comes and goes.
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
    spectra = np.fft.rfft2((pictures - pictures.mean((1, 2), keepdims=True)) * window)
    cross = spectra[1:] * spectra[:-1].conj()
    magnitude = np.abs(cross)
    # The mean keeps the noise of empty frequencies down; where all is empty, the peak is at no shift.
    cross /= magnitude + 1e-3 * magnitude.mean((1, 2), keepdims=True) + 1e-6
    surface = np.fft.irfft2(cross, s=(height, width))
    far_down, far_right = int(height * _FARTHEST), int(width * _FARTHEST)
    near = np.roll(surface, (far_down, far_right), (1, 2))[:, : 2 * far_down + 1, : 2 * far_right + 1]
    peak = near.reshape(len(near), -1).argmax(1)
    row, column = np.divmod(peak, near.shape[2])
    numbers = np.arange(len(near))
    right = column + _vertex(near[numbers, row], column) - far_right
    down = row + _vertex(near[numbers, :, column], row) - far_down
    still = np.abs(cross).max((1, 2)) == 0
    return np.where(still, 0, right), np.where(still, 0, down)


def _vertex(lines: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Where between the samples the parabola through a peak and its neighbours is highest: (N,) in [-0.5, 0.5].

    Args:
        lines: (N, n) values.
        peak: int (N,), index of the highest value of each.
    """
    numbers = np.arange(len(lines))
    before = lines[numbers, np.maximum(peak - 1, 0)]
    after = lines[numbers, np.minimum(peak + 1, lines.shape[1] - 1)]
    curvature = 2 * lines[numbers, peak] - before - after
    offset = (after - before) / np.where(curvature > 0, 2 * curvature, 1)
    inside = (curvature > 0) & (peak > 0) & (peak < lines.shape[1] - 1)
    return np.where(inside, np.clip(offset, -0.5, 0.5), 0)
