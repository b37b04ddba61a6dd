"""docs/compare.md names what the contract and the command name."""

import argparse
import re
from pathlib import Path

from mstv.cli import compare
from mstv.data.results import layout
from mstv.data.results.revisits import MIN_GAP, REVISITS
from mstv.data.results.scores import SCORES
from mstv.data.revisits import Tolerance
from mstv.data.schema import SCHEMA_VERSION

TEXT = (Path(__file__).parents[2] / "docs" / "compare.md").read_text()


def test_every_file_column_and_option_is_told() -> None:
    for name, value in vars(layout).items():
        assert not name.isupper() or value in TEXT, name
    for name in (*SCORES.names, *REVISITS.names):
        assert f"`{name}`" in TEXT, name
    parser = argparse.ArgumentParser(add_help=False)
    compare.add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings}
    assert options == set(re.findall(r"^\| `(--[a-z-]+)", TEXT, re.MULTILINE))


def test_numbers_are_those_of_the_code() -> None:
    assert f"(now {SCHEMA_VERSION})" in TEXT
    assert f"at least {MIN_GAP} frames" in TEXT
    tolerance = Tolerance()
    assert f"within {tolerance.position:g} blocks and {tolerance.angle:g} degrees" in TEXT
