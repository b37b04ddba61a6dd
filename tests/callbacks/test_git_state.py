"""Commit and dirtiness of the code that runs."""

import subprocess
from pathlib import Path

import pytest

from mstv.callbacks import git_state as module
from mstv.callbacks.git_state import git_state


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    result = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True)
    assert not result.returncode, result.stderr
    return result.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A file of a package in a fresh repository."""
    git(tmp_path, "init", "--quiet")
    file = tmp_path / "package" / "__init__.py"
    file.parent.mkdir()
    file.write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return file


def test_commit_and_changes(package: Path) -> None:
    commit = git(package.parent, "rev-parse", "HEAD")
    state = git_state(package)
    assert state is not None and state.commit == commit and not state.dirty
    (package.parent / "notes.txt").write_text("not tracked")
    state = git_state(package)
    assert state is not None and not state.dirty
    package.write_text("2\n")
    state = git_state(package)
    assert state is not None and state.commit == commit and state.dirty


def test_a_package_installed_inside_a_repository_is_not_of_it(package: Path) -> None:
    installed = package.parent / ".venv" / "other.py"
    installed.parent.mkdir()
    installed.write_text("")
    assert git_state(installed) is None


def test_outside_of_a_repository_and_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.py").write_text("")
    assert git_state(tmp_path / "file.py") is None

    def missing(*arguments, **settings):
        raise FileNotFoundError("git")

    monkeypatch.setattr(module.subprocess, "run", missing)
    assert git_state(Path(module.__file__)) is None
