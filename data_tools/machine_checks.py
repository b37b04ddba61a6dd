"""What recording needs of a machine: one `Check` for each thing, found without starting an engine."""

import ctypes.util
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CORE_PACKAGES = ("torch", "av", "decord", "numba", "gymnasium", "webdataset")
_ANSWER_SECONDS = 120.0
_PIXELS, _FPS = 128 * 128, 20
_BYTES_A_PIXEL = 0.15  # of a frame in a raw episode, measured on BlockWorld at 128 x 128
_GIB = 2.0**30
_LEAST_FREE, _LEAST_SHARED, _LEAST_FILES = 2 * _GIB, _GIB, 1024

_LOOK = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        found[name] = [True, str(getattr(module, "__version__", ""))]
    except Exception as error:
        found[name] = [False, (str(error).strip() or type(error).__name__).splitlines()[0]]
try:
    import av
    found["libx264"] = ["libx264" in av.codecs_available, ""]
except Exception as error:
    found["libx264"] = [False, ""]
try:
    import torch
    found["gpu"] = [torch.cuda.is_available(), torch.cuda.get_device_name() if torch.cuda.is_available() else ""]
except Exception as error:
    found["gpu"] = [False, ""]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        state: how it is; a warning is something that one can do without.
        found: what there is.
        advice: what to do about it, empty where nothing is to be done.
        needed: whether what was asked for fails without it.
    """

    name: str
    state: Literal["ok", "missing", "warning"]
    found: str
    advice: str = ""
    needed: bool = False


def python_check() -> Check:
    """The interpreter's version."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        return Check("Python", "ok", found, needed=True)
    return Check("Python", "missing", found, "use Python 3.11, 3.12 or 3.13", needed=True)


def package_checks() -> list[Check]:
    """Packages, the encoder and the GPU, as a process of its own sees them, since one of them may crash it."""
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _LOOK, *CORE_PACKAGES],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            start_new_session=True,
        )
        found: dict[str, tuple[bool, str]] = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        told = f"importing them fails ({type(error).__name__})"
        return [
            Check("packages", "missing", told, "install mstv anew: pip install -c constraints.txt -e .", needed=True)
        ]
    checks = []
    for name in CORE_PACKAGES:
        works, told = found[name]
        advice = "" if works else f"pip install -c constraints.txt {name}"
        checks.append(Check(name, "ok" if works else "missing", told, advice, needed=True))
    program = shutil.which("ffmpeg")
    beside = f"; ffmpeg program: {program}" if program else "; no ffmpeg program, and none is needed"
    if found["libx264"][0]:
        checks.append(Check("video encoder", "ok", f"libx264 of PyAV{beside}", needed=True))
    else:
        advice = "pip install --force-reinstall -c constraints.txt av, whose wheels hold it"
        checks.append(Check("video encoder", "missing", f"PyAV has no libx264{beside}", advice, needed=True))
    has_gpu, gpu = found["gpu"]
    advice = "" if has_gpu else "recording needs none; training and encoding are far faster with one"
    checks.append(Check("GPU for torch", "ok" if has_gpu else "warning", gpu or "none", advice))
    return checks


def java_check() -> Check:
    """Java, of which MineRL wants version 8 and CraftGround 21 or later."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    advice = "MineRL: apt-get install openjdk-8-jdk; CraftGround: openjdk-21-jdk; point JAVA_HOME to it"
    try:
        told = subprocess.run([program or "java", "-version"], capture_output=True, text=True, timeout=30).stderr
    except (OSError, subprocess.TimeoutExpired):
        return Check(
            "Java", "missing", f"none at JAVA_HOME={home}" if home else "none", f"only Minecraft wants it. {advice}"
        )
    version = re.search(r'version "(?:1\.)?(\d+)[^"]*"', told)
    number = int(version[1]) if version else 0
    fits = [name for name, right in (("MineRL", number == 8), ("CraftGround", number >= 21)) if right]
    found = f"version {number or 'unknown'}, {program}"
    if fits:
        other = "; the other one wants another" if len(fits) == 1 else ""
        return Check("Java", "ok", f"{found}: right for {fits[0]}{other}")
    return Check("Java", "warning", f"{found}: right neither for MineRL nor for CraftGround", advice)


def display_checks() -> list[Check]:
    """OpenGL, a display, and the programs of Luanti."""
    library = ctypes.util.find_library("GL")
    gl = (
        Check("OpenGL", "ok", library)
        if library
        else Check("OpenGL", "missing", "no libGL", "Luanti, MineRL and CraftGround want it: apt-get install libgl1")
    )
    server, display = shutil.which("Xvfb"), os.environ.get("DISPLAY")
    if server:
        screen = Check("Xvfb", "ok", server)
    else:
        beside = f"none; DISPLAY is {display}" if display else "none, and no DISPLAY"
        screen = Check(
            "Xvfb", "missing", beside, "Luanti wants it, Minecraft without a display too: apt-get install xvfb"
        )
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/games", "/usr/local/games"))
    program = shutil.which("minetest", path=path) or shutil.which("luanti", path=path)
    game = (
        Check("minetest", "ok", program)
        if program
        else Check(
            "minetest", "missing", "no minetest or luanti program", "only Luanti wants it: apt-get install minetest"
        )
    )
    return [gl, screen, game]


def folder_check(folder: Path, needed: bool) -> Check:
    """Whether one can write there, and how much footage fits.

    Args:
        folder: it, or what of it there is.
        needed: whether the user asked for it.
    """
    name = "folder"
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"mstv")
    except OSError as error:
        told = f"{folder}: cannot be written: {error.strerror or error}"
        return Check(name, "missing", told, "choose another with --folder, or mend its permissions", needed)
    free = shutil.disk_usage(there).free
    hours = free / (_BYTES_A_PIXEL * _PIXELS * _FPS * 3600)
    found = f"{folder}: {free / _GIB:.1f} GiB free: about {hours:.0f} h of 128x128 at {_FPS} frames/s"
    if free < _LEAST_FREE:
        return Check(name, "warning", found, "make room, or choose another with --folder", needed)
    return Check(name, "ok", found, needed=needed)


def limit_checks() -> list[Check]:
    """Shared memory and open files, of which loaders and many workers want some."""
    checks = []
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total
        found = f"{size / _GIB:.1f} GiB"
        checks.append(
            Check("/dev/shm", "ok", found)
            if size >= _LEAST_SHARED
            else Check("/dev/shm", "warning", found, "loaders pass batches there: in a container, --shm-size=2g")
        )
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    checks.append(
        Check("open files", "ok", f"{soft} at most" if soft != resource.RLIM_INFINITY else "no limit")
        if soft == resource.RLIM_INFINITY or soft >= _LEAST_FILES
        else Check("open files", "warning", f"{soft} at most", f"ulimit -n {4 * _LEAST_FILES}")
    )
    return checks
