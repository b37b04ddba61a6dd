"""`mstv-data import videos`: any folder of video files becomes raw episodes without actions and poses.

Each video is a world of its own, so that no split is crossed.
"""

import argparse
from pathlib import Path

from data_tools.importers import command
from data_tools.importers.importing import Format
from data_tools.importers.recording import Recording, Track, files_below, recording_key
from mstv.errors import UserError

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")


def find(folder: Path, leave_out: Path) -> list[Recording]:
    """Video files below `folder`, none of those in `leave_out`.

    Raises:
        UserError: no such folder, or no video in it.
    """
    names = [name for name in files_below(folder, leave_out) if name.suffix.lower() in SUFFIXES]
    if not names:
        raise UserError(f"{folder}: holds no video ({', '.join(SUFFIXES)}): give another folder")
    return [Recording(folder / name, str(name), world=recording_key(name)) for name in names]


def read(recording: Recording) -> Track:
    """Nothing stands beside a plain video."""
    return Track()


FORMAT = Format("videos", find, read)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data import videos`."""
    command.add_arguments(parser, "folder of videos, searched with all folders below", resample=True)


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data import videos`."""
    return command.run(FORMAT, arguments)
