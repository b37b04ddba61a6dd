"""The `mstv-data` command line itself."""

import os
import subprocess
import sys
import time

import pytest

from data_tools.cli import COMMANDS, IMPORTERS, main

HELP = """
import sys
from data_tools.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert stop.code == 0
heavy = {"torch", "numba", "decord", "webdataset", "lightning"} & sys.modules.keys()
assert not heavy, heavy
"""


@pytest.mark.parametrize("arguments", [["--help"], ["import", "--help"], ["shard", "--help"], ["verify", "--help"]])
def test_help_answers_without_the_heavy_imports(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", HELP, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: mstv-data")


@pytest.mark.alone
def test_help_is_quick() -> None:
    """Best of five, since other work may run beside."""
    command = [sys.executable, "-c", HELP, "--help"]
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


@pytest.mark.parametrize(
    "arguments",
    [[name] for name in COMMANDS if name != "import"] + [["import", name] for name in IMPORTERS],
)
def test_every_command_has_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--help"])
    assert stop.value.code == 0
    assert "usage: mstv-data " + " ".join(arguments) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["fly"], "no command 'fly'"),
        (["import", "tapes"], "no command 'tapes'"),
        (["record", "--out", "x", "--size", "31"], "must be even"),
        (["record", "--out", "x", "--size", "big"], "is no size"),
        (["record", "--out", "x", "--frames", "0"], "not a whole number >= 1"),
        (["import", "videos", "a", "b", "--size", "32", "--fps", "nan"], "is not a rate"),
        (["shard", "a", "b", "--fractions", ".5,.5"], "give three fractions"),
    ],
)
def test_mistakes_exit_with_2(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert problem in capsys.readouterr().err


def test_user_errors_are_one_line_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shard", "/nowhere/raw", "/nowhere/shards"]) == 2
    told = capsys.readouterr().err
    assert told == "mstv-data: error: /nowhere/raw: no such folder: give the folder of raw episodes\n"


def test_a_reader_that_has_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from data_tools.cli import main; sys.exit(main(['--help']))"
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
