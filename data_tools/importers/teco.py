"""`mstv-data import teco`: Minecraft walks of TECO.

Format: `{train,test}/*/NNNNNN.mp4` (20 frames a second, 128x128) and `.npz` with `actions`, int32 (T + 1,): 0 initial,
1 forward, 2 left, 3 right; a turn is 20 degrees.

Quirks:
- Entry t produced frame t, so nothing moves (a public reader is one step off); the last entry has no frame.
- Ids are one above ours: 0 -> -1 (null), 1 -> 0 forward, 2 -> 1 left, 3 -> 2 right.

There are no poses.

World: each recording, since the format does not tell of worlds. The folder's split is kept in
`source.settings.published_split`.
"""

import argparse
from pathlib import Path

import numpy as np

from data_tools.importers import command
from data_tools.importers.importing import Format
from data_tools.importers.recording import Recording, Track, split_recordings
from data_tools.importers.source_file import numeric, read_npz, within
from mstv.data.schema import ActionSpec, Split

FRAMES_A_SECOND = 20.0
SPEC = ActionSpec(kind="discrete", names=("forward", "left", "right"))
_SPLITS: dict[str, Split] = {"train": "train", "test": "test"}


def find(folder: Path, leave_out: Path) -> list[Recording]:
    """Recordings below `folder`: names with an mp4 or an npz."""
    return split_recordings(folder, leave_out, "teco", _SPLITS)


def read(recording: Recording) -> Track:
    """Actions of a recording."""
    path = recording.files[0]
    source = within(numeric(read_npz(path), "actions", path, (None,), "iu"), "actions", path, 0, SPEC.size)
    actions = source[:-1].astype(np.int16) - np.int16(1)
    return Track(SPEC, actions, fps=FRAMES_A_SECOND)


FORMAT = Format("teco", find, read)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data import teco`."""
    command.add_arguments(parser, "folder of train and test, or one of them: */NNNNNN.mp4 and .npz")


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data import teco`."""
    return command.run(FORMAT, arguments)
