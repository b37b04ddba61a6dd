"""`mstv-data doctor`, and what it says of machines that lack something."""

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from data_tools import machine_checks
from data_tools.cli import main

STAND_INS = Path(__file__).parent / "engines" / "stand_ins"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_it_opens_our_engine_and_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--engine", "blockworld", "--folder", str(tmp_path / "not" / "yet")]) == 0
    told = capsys.readouterr().out
    assert "blockworld works" in told and "first frame after" in told and "128x128" in told
    assert "libx264" in told and "GiB free" in told and "luanti " not in told.partition("engine")[2]
    assert not (tmp_path / "not").exists()


def test_an_engine_of_another_environment(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["doctor", "--engine", "minerl"]) == 2
    told = capsys.readouterr().out
    assert "does not work: engine minerl" in told and "make minerl-env" in " ".join(told.split())
    monkeypatch.setenv("PYTHONPATH", str(STAND_INS))
    assert main(["doctor", "--engine", "minerl", "--engine-python", sys.executable]) == 0
    assert "minerl works" in capsys.readouterr().out


def test_an_engine_that_crashes_or_has_no_interpreter(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(STAND_INS))
    assert main(["doctor", "--engine", "gym:odd_envs:Exits-v0"]) == 2
    assert "out of memory on the card" in " ".join(capsys.readouterr().out.split())
    assert main(["doctor", "--engine", "craftground", "--engine-python", "/nowhere/python"]) == 2
    assert "cannot be started" in " ".join(capsys.readouterr().out.split())


def test_an_unknown_engine_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--engine", "quake"]) == 2
    assert "choose from blockworld" in capsys.readouterr().err


@pytest.mark.slow
def test_without_an_engine_it_opens_what_is_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Minecraft's stand-ins are in the given interpreter.
    monkeypatch.setenv("PYTHONPATH", str(STAND_INS))
    assert main(["doctor", "--engine-python", sys.executable]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    states = {row[1]: row[2] for row in rows if row[:1] == ["engine"]}
    assert states.pop("luanti") in ("ok", "missing")
    assert states == {"blockworld": "ok", "minerl": "ok", "craftground": "ok"}


def test_it_imports_nothing_heavy_itself() -> None:
    code = "import sys, data_tools.doctor; print(sorted({'torch', 'numba', 'decord', 'gymnasium'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_package_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "decord.py").write_text("raise OSError('libav is too old')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    checks = {check.name: check for check in machine_checks.package_checks()}
    decord = checks["decord"]
    assert (decord.state, decord.found, decord.needed) == ("missing", "libav is too old", True)
    assert "pip install" in decord.advice and checks["av"].state == "ok"


def test_packages_that_crash_the_interpreter_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (check,) = machine_checks.package_checks()
    assert check.state == "missing" and check.needed and "pip install" in check.advice


@pytest.mark.parametrize(
    ("line", "state", "found"),
    [
        ('openjdk version "1.8.0_432"', "ok", "right for MineRL"),
        ('openjdk version "21.0.4" 2024-07-16', "ok", "right for CraftGround"),
        ('openjdk version "17.0.15" 2025-04-15', "warning", "version 17"),
        ("nonsense", "warning", "version unknown"),
    ],
)
def test_which_java_is_right_for_what(
    line: str, state: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "java", f"echo '{line}' >&2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    check = machine_checks.java_check()
    assert check.state == state and found in check.found
    assert bool(check.advice) == (state != "ok")


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    java = machine_checks.java_check()
    assert (java.state, java.found) == ("missing", "none") and "openjdk" in java.advice
    screen = machine_checks.display_checks()[1]
    assert screen.state == "missing" and "apt-get install xvfb" in screen.advice
    program(tmp_path, "Xvfb", "")
    assert machine_checks.display_checks()[1].state == "ok"
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    assert "JAVA_HOME" in machine_checks.java_check().found


def test_a_folder_that_cannot_be_written() -> None:
    check = machine_checks.folder_check(Path("/proc/recordings"), needed=True)
    assert check.state == "missing" and "cannot be written" in check.found and check.advice


def test_room_is_told_in_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 100 * 2**30))
    check = machine_checks.folder_check(tmp_path, needed=False)
    assert check.state == "ok" and "100.0 GiB free: about 607 h" in check.found
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 2**29))
    assert machine_checks.folder_check(tmp_path, needed=False).state == "warning"


def test_small_limits_are_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(64 * 2**20, 0, 0))
    monkeypatch.setattr(machine_checks.resource, "getrlimit", lambda kind: (256, 4096))
    states = {check.name: check for check in machine_checks.limit_checks()}
    assert states["open files"].state == "warning" and "ulimit -n" in states["open files"].advice
    if "/dev/shm" in states:
        assert states["/dev/shm"].state == "warning" and "--shm-size" in states["/dev/shm"].advice
