"""Sine and cosine that are the same bits on every machine.

libm and numpy choose their code by CPU, and their last bit with it. Here are only IEEE + and *, on angles held as
integers, so that quadrants are exact: sin(a + 180) is bit for bit -sin(a), and sin(90) is 1.
"""

from __future__ import annotations

FULL_TURN = 360_000
"""Millidegrees in a full turn; all angles of the engine are integer millidegrees."""

_RADIANS = 3.141592653589793 / 180_000.0
# Taylor coefficients; on [0, 45] degrees the first left-out terms are below 3e-17.
_SIN = (-1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800, -1 / 1307674368000)
_COS = (-1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800, 1 / 479001600, -1 / 87178291200)


def _series(coefficients: tuple[float, ...], square: float) -> float:
    total = 0.0
    for coefficient in reversed(coefficients):
        total = (total + coefficient) * square
    return 1.0 + total


def _first_quadrant(angle: int) -> tuple[float, float]:
    """Sine and cosine of 0 <= angle < 90 degrees (millidegrees)."""
    if angle > 45_000:
        cosine, sine = _first_quadrant(90_000 - angle)
        return sine, cosine
    radians = angle * _RADIANS
    square = radians * radians
    return radians * _series(_SIN, square), _series(_COS, square)


def sin_cos(angle: int) -> tuple[float, float]:
    """Return (sine, cosine) of an angle in integer millidegrees (any int), each within 1e-15 of the true value."""
    quadrant, rest = divmod(angle % FULL_TURN, 90_000)
    sine, cosine = _first_quadrant(rest)
    return ((sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine))[quadrant]
