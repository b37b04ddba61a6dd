"""The one way a function of this engine is compiled."""

from __future__ import annotations

from collections.abc import Callable

import numba


def kernel(function: Callable) -> Callable:
    """Compile `function` with numba, strictly (no fastmath, so no fused multiply-add), and cache it if possible.

    numba puts its cache beside the source or, failing that, in the user's cache folder, and raises RuntimeError
    while decorating when neither can be written (a read-only container); the function is then compiled once per
    process. numba keys its cache by CPU and by the source file of the decorated function only: kernels therefore
    never call kernels, nor read constants, of another file, so that an edit can never meet a stale cache.
    """
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:
        return numba.njit(error_model="numpy")(function)
