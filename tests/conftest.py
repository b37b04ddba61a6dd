"""Options and fixtures that the whole suite shares."""

import os
from pathlib import Path

import pytest

# Tests run side by side, on models too small to share among threads. Before anything loads torch, and for subprocesses.
os.environ.setdefault("OMP_NUM_THREADS", "1")

DEFAULT_REFERENCE = Path(__file__).parent / "reference"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reference",
        type=Path,
        action="append",
        help="folder of reference numbers to test against; may be given several times (default: the copies in tests/)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "reference" in metafunc.fixturenames:
        folders = metafunc.config.getoption("--reference") or [DEFAULT_REFERENCE, DEFAULT_REFERENCE / "nonsquare"]
        metafunc.parametrize("reference", folders, ids=lambda folder: folder.name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The commands run in this process and leave threads behind (torch's, W&B's), and worker processes that are forked
    # after that end slowly: tests of the loaders come before.
    items.sort(key=lambda item: "cli" in item.path.parts)
