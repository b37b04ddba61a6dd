"""`mstv-data import gamefactory`: GF-Minecraft of GameFactory.

Format: `data_2003/` (mouse and keyboard) and `data_269/` (keyboard), each with `video/<name>.mp4` of 2000 frames,
`metadata/<name>.json` and `annotation.csv`. The JSON's `actions` maps frame numbers to {ws, ad, scs, pitch_delta,
yaw_delta}.

Quirks:
- `actions["k"]` produced frame k, so nothing moves; entry "0" means nothing and may be missing. Keys are texts in any
  order; every frame from 1 on has its own.
- `annotation.csv` holds captions of clips and is not read; `metadata-detection/`, a derived copy, neither.
- A set without a mouse may have no `pitch_delta` and `yaw_delta`: if no entry has one, it is 0.

Mapping: ws 1 forward, 2 back; ad 1 left, 2 right; scs 1 jump, 2 sneak, 3 sprint; pitch_delta * 15 and yaw_delta * 15
degrees -> camera_pitch (down), camera_yaw (right), floats. Poses from `pos` (blocks), `yaw`, `pitch` (degrees) where
every entry has them.

World: `seed_<n>` of a name `seed_<n>_part_<m>`, in both sets, else the name.
"""

import argparse
import re
from pathlib import Path

import numpy as np

from data_tools.importers import command
from data_tools.importers.importing import Format
from data_tools.importers.recording import Recording, Track, files_below
from data_tools.importers.source_file import bad, field, integer, items, number, parse_json, read_text
from mstv.data.schema import ActionSpec
from mstv.errors import UserError

DEGREES_A_STEP = 15.0
_KEYS = {"ws": ("forward", "back"), "ad": ("left", "right"), "scs": ("jump", "sneak", "sprint")}
_CAMERA = {"pitch_delta": "camera_pitch", "yaw_delta": "camera_yaw"}
_NAMES = (*(name for names in _KEYS.values() for name in names), *_CAMERA.values())
SPEC = ActionSpec(kind="vector", names=_NAMES, units=("0/1",) * (len(_NAMES) - 2) + ("degrees",) * 2)
_SEED = re.compile(r"^seed_\d+")


def find(folder: Path, leave_out: Path) -> list[Recording]:
    """Recordings below `folder`: names with a file in `video/` or in `metadata/`."""
    kinds = {("video", ".mp4"), ("metadata", ".json")}
    found = {
        (name.parent.parent, name.stem)
        for name in files_below(folder, leave_out)
        if (name.parent.name, name.suffix) in kinds
    }
    if not found:
        raise UserError(
            f"{folder}: holds no video/*.mp4 with metadata/*.json: give the folder of data_2003 or data_269"
        )
    recordings = []
    for parent, stem in sorted(found):
        video, seed = parent / "video" / f"{stem}.mp4", _SEED.match(stem)
        files = (folder / parent / "metadata" / f"{stem}.json",)
        world = f"gamefactory-{seed[0] if seed else stem}"
        recordings.append(Recording(folder / video, str(video), world, files))
    return recordings


def read(recording: Recording) -> Track:
    """Actions, and poses if there are any, of a recording."""
    path = recording.files[0]
    entries = field(parse_json(read_text(path), path), "actions", path)
    if not isinstance(entries, dict):
        raise bad(path, "field actions is no object of actions by frame")
    num_frames = len(entries) + ("0" not in entries)
    missing = next((k for k in range(1, num_frames) if str(k) not in entries), None)
    if missing is not None:
        raise bad(path, f"field actions holds {len(entries)} entries, but none for frame {missing}")
    rows = [(entries[str(k)], f"{path}: actions of frame {k}") for k in range(1, num_frames)]
    for entry, where in rows:
        if not isinstance(entry, dict):
            raise bad(where, "is no object")
    camera = [name for name in _CAMERA if any(name in entry for entry, _ in rows)]
    actions = np.zeros((num_frames, SPEC.size), np.float32)
    for row, (entry, where) in enumerate(rows, 1):
        for key, names in _KEYS.items():
            choice = integer(entry, key, where, 0, len(names))
            if choice:
                actions[row, _NAMES.index(names[choice - 1])] = 1
        for name in camera:
            actions[row, _NAMES.index(_CAMERA[name])] = number(entry, name, where) * DEGREES_A_STEP
    return Track(SPEC, actions, _poses([(entries.get("0"), f"{path}: actions of frame 0"), *rows]))


def _poses(rows: list[tuple[object, str]]) -> np.ndarray | None:
    if not all(isinstance(entry, dict) and entry.keys() >= {"pos", "yaw", "pitch"} for entry, _ in rows):
        return None
    poses = np.zeros((len(rows), 5), np.float32)
    for pose, (entry, where) in zip(poses, rows, strict=True):
        place = dict(zip("xyz", items(entry, "pos", where, int | float, 3), strict=True))
        pose[:] = [
            *(number(place, axis, f"{where}: field pos") for axis in "xyz"),
            *(number(entry, name, where) for name in ("yaw", "pitch")),
        ]
    return poses


FORMAT = Format("gamefactory", find, read)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data import gamefactory`."""
    command.add_arguments(parser, "folder of data_2003 and data_269, or one of them: video/*.mp4, metadata/*.json")


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data import gamefactory`."""
    return command.run(FORMAT, arguments)
