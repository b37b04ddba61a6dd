"""`mstv-data import worldmem`: Minecraft walks of WorldMem, made with MineDojo.

Format: `{training,validation,test}/**/NNNNNN.mp4` (10 frames a second) and `.npz`: `actions` (T, 8), MineDojo's
integers, and `poses` (T, 5): x, y, z in blocks, pitch, yaw in degrees.

Quirks:
- Row t produced frame t, so nothing moves; row 0 is a no-op.
- Camera columns 3 (pitch) and 4 (yaw) are indices: 12 is none, each step is 15 degrees.
- Poses are (pitch, yaw), ours (yaw, pitch).
- Some files have no pose for frame 0: the next one's is taken.

Mapping of columns: 0: 1 forward, 2 back; 1: 1 left, 2 right; 2: 1 jump, 2 sneak, 3 sprint; 3 and 4: camera_pitch (down)
and camera_yaw (right) in degrees; 5: 1 use, 2 drop, 3 attack, 4 craft, 5 equip, 6 place, 7 destroy; 6 and 7, what to
craft and which slot: craft_item and inventory_slot, as they are.

World: each recording, since each was made in a world of its own. The folder's split is kept in
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

FRAMES_A_SECOND = 10.0
DEGREES_A_STEP = 15.0
_NO_TURN = 12
_CHOICES = {
    0: ("forward", "back"),
    1: ("left", "right"),
    2: ("jump", "sneak", "sprint"),
    5: ("use", "drop", "attack", "craft", "equip", "place", "destroy"),
}
_NAMES = tuple(name for names in _CHOICES.values() for name in names)
SPEC = ActionSpec(
    kind="vector",
    names=(*_NAMES, "craft_item", "inventory_slot", "camera_pitch", "camera_yaw"),
    units=("0/1",) * len(_NAMES) + ("index",) * 2 + ("degrees",) * 2,
)
_SPLITS: dict[str, Split] = {"training": "train", "validation": "validation", "test": "test"}


def find(folder: Path, leave_out: Path) -> list[Recording]:
    """Recordings below `folder`: names with an mp4 or an npz."""
    return split_recordings(folder, leave_out, "worldmem", _SPLITS)


def read(recording: Recording) -> Track:
    """Actions and poses of a recording."""
    path = recording.files[0]
    arrays = read_npz(path)
    source = numeric(arrays, "actions", path, (None, 8), "iu")
    columns: list[np.ndarray] = []
    for column, names in _CHOICES.items():
        chosen = within(source[:, column], f"actions[:, {column}]", path, 0, len(names))
        columns.extend(chosen == number for number in range(1, len(names) + 1))
    columns.extend(within(source[:, column], f"actions[:, {column}]", path, 0, 10**6) for column in (6, 7))
    for column in (3, 4):
        steps = within(source[:, column], f"actions[:, {column}]", path, 0, 2 * _NO_TURN).astype(np.float32)
        columns.append((steps - _NO_TURN) * DEGREES_A_STEP)
    actions = np.stack(columns, axis=1).astype(np.float32)
    poses = numeric(arrays, "poses", path, (None, 5)).astype(np.float32)[:, [0, 1, 2, 4, 3]]
    if len(poses) == len(actions) - 1:
        poses = np.concatenate([poses[:1], poses])
    return Track(SPEC, actions, poses, FRAMES_A_SECOND)


FORMAT = Format("worldmem", find, read)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data import worldmem`."""
    command.add_arguments(parser, "folder of training, validation and test, or one of them: **/NNNNNN.mp4 and .npz")


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data import worldmem`."""
    return command.run(FORMAT, arguments)
