"""The file that a command was told to write: looked at before the work, and never in place of something else."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mstv.errors import UserError

_BEGINNING = 1024
"""Bytes of a file that tell its kind."""


@dataclass(frozen=True)
class FileKind:
    """A kind of file that a command writes.

    Attributes:
        name: with its article, for messages.
        suffixes: that its names end in, lower case.
        marks: lower case; one of them is among the first bytes of every file of the kind.
    """

    name: str
    suffixes: tuple[str, ...]
    marks: tuple[bytes, ...]


PAGE = FileKind("an HTML page", (".html", ".htm"), (b"<!doctype html", b"<html"))
PNG = FileKind("a PNG picture", (".png",), (b"\x89png",))
PDF = FileKind("a PDF", (".pdf",), (b"%pdf",))
SVG = FileKind("an SVG picture", (".svg",), (b"<svg", b"<?xml"))
MP4 = FileKind("an mp4 video", (".mp4",), (b"ftyp",))


def check_output(path: Path, kinds: Sequence[FileKind], option: str = "--out") -> None:
    """See that `option path` can be written; nothing is left there.

    Args:
        path: the file; its folder may be missing.
        kinds: what it may become, by its suffix.
        option: by which it was named, for messages.

    Raises:
        UserError: the name has another suffix; there is a folder, or a file of another kind than its suffix says; or
            the folder cannot be written.
    """
    suffixes = [suffix for kind in kinds for suffix in kind.suffixes]
    if path.is_dir():
        raise UserError(f"{option} {path}: is a folder: give the name of a file, such as {path / f'NAME{suffixes[0]}'}")
    kind = next((kind for kind in kinds if path.suffix.lower() in kind.suffixes), None)
    if kind is None:
        raise UserError(f"{option} {path}: must end in {', '.join(suffixes)}")
    try:
        if path.is_file() and not _is_of(path, kind):
            raise UserError(
                f"{option} {path}: there is a file that is not {kind.name}: choose another name, or move it"
            )
        there = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written ({error.strerror}): choose another") from None


def _is_of(path: Path, kind: FileKind) -> bool:
    """An empty file is of any kind: nothing is lost."""
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING).lower()
    return not beginning or any(mark in beginning for mark in kind.marks)
