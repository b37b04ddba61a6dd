"""The same seed and actions give the same bytes: in this process, in another, and for another kind of CPU."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from data_tools.engines.blockworld import cells, raycast
from data_tools.engines.blockworld.renderer import Eye, Renderer
from data_tools.engines.blockworld.world import build_world

SCRIPT = Path(__file__).with_name("scripted_walk.py")
ROOT = Path(__file__).parents[4]
# Changes only with a deliberate change of the look, the maps or the body: then recordings made before differ too.
FROZEN = "06afb576e45479408d506090dee185017b669916d2f10a412dd73b0e1ce038c3"


def in_fresh_process(**environment: str) -> str:
    finished = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return finished.stdout.strip()


def test_frames_are_the_frozen_ones_twice_in_one_process():
    digest = runpy.run_path(str(SCRIPT))["digest"]
    assert digest() == FROZEN
    assert digest() == FROZEN


def test_frames_are_the_frozen_ones_in_a_fresh_process():
    assert in_fresh_process() == FROZEN


def test_frames_are_the_frozen_ones_on_a_generic_cpu(tmp_path):
    # A generic x86-64 has SSE2 only: no wide vectors, no hardware floor, no fused multiply-add. numpy too is held to
    # its baseline.
    disabled = " ".join(_numpy_dispatched_features())
    digest = in_fresh_process(
        NUMBA_CPU_NAME="generic", NUMBA_CACHE_DIR=str(tmp_path), NPY_DISABLE_CPU_FEATURES=disabled
    )
    assert digest == FROZEN


def _numpy_dispatched_features() -> list[str]:
    return np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])


def assembly_of_kernels(monkeypatch) -> dict[str, str]:
    """Machine code of all kernels, compiled anew because numba shows none for what it took from its cache."""
    monkeypatch.setattr("data_tools.engines.blockworld.kernel.kernel", numba.njit(error_model="numpy"))
    fresh_cells, fresh_rays = runpy.run_path(cells.__file__), runpy.run_path(raycast.__file__)
    world = build_world(0, 64)
    fresh_cells["encode_cells"](world.blocks)
    monkeypatch.setattr("data_tools.engines.blockworld.renderer.render_frame", fresh_rays["render_frame"])
    Renderer(8, 8, 70, 64).draw(world, Eye(32.5, 40.0, 32.5, 0, 0))
    return {
        name: "\n".join(value.inspect_asm().values())
        for name, value in {**fresh_cells, **fresh_rays}.items()
        if isinstance(value, numba.core.dispatcher.Dispatcher)
    }


def test_kernels_have_no_fused_multiply_add_and_no_libm(monkeypatch):
    codes = assembly_of_kernels(monkeypatch)
    assert {"_march", "render_frame", "_sweep"} <= set(codes)
    for name, code in codes.items():
        if name in ("_march", "render_frame"):
            assert re.search(r"mul[sp][sd]", code), f"{name}: no machine code to look at"
        assert not re.search(r"vfn?m(add|sub)", code), name
        assert not re.search(r"\b(sinf?|cosf?|tanf?|expf?|powf?|logf?|fmaf?)(@PLT)?\b", code), name


@pytest.mark.parametrize("name", ["OPEN", "FIRST_BLOCK", "OUTSIDE"])
def test_constants_repeated_for_the_kernels_agree(name):
    assert getattr(raycast, name) == getattr(cells, name)
