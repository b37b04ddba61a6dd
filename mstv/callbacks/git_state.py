"""The state of the code that runs."""

import subprocess
from pathlib import Path

from mstv.data.results.training import GitState

SECONDS = 20
"""Longer than git takes on a slow shared folder."""


def git_state(file: Path) -> GitState | None:
    """Commit of the repository that tracks `file`, and whether tracked files differ from it.

    None without git, and for a package that is installed in a folder which happens to lie in a repository.
    """
    tracked = _git(file.parent, "ls-files", "--error-unmatch", file.name)
    commit = _git(file.parent, "rev-parse", "HEAD")
    changes = _git(file.parent, "status", "--porcelain", "--untracked-files=no")
    if tracked is None or commit is None or changes is None:
        return None
    return GitState(commit=commit.strip(), dirty=bool(changes.strip()))


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None if it fails."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return None
