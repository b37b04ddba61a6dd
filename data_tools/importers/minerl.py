"""`mstv-data import minerl`: MineRL-v0 demonstrations.

Format: `<Env>/<stream>/recording.mp4`, `rendered.npz` and `metadata.json`; 20 ticks a second. `rendered.npz` holds
`reward` (N,), `action$<name>` (N, ...) and `observation$<name>` (N + 1, ...); there are N + 1 states.

Quirks:
- The video begins before the first state: its first `true_video_frame_count` - (N + 1) frames are dropped.
- `action$*[i]` takes state i to state i + 1, so actions move by +1.
- Which actions there are depends on the environment. Columns are the same for all of them, and 0 where one lacks an
  action, so that environments can be mixed. Of `place`, `equip`, `craft`, `nearbyCraft` and `nearbySmelt`, numbers
  or names of items, only whether anything was done is kept. Other actions are left out, and named in
  `source.settings.actions_left_out`.

Mapping: `camera` (pitch, yaw) in degrees a tick -> camera_pitch (down) and camera_yaw (right), floats; poses, in blocks
and degrees, from `observation$...$xpos`, `ypos`, `zpos`, `yaw`, `pitch` where all five are there.

World: the stream's name without its version, part and range (`v3_absolute_grape_changeling-6_37339-46767` ->
`absolute_grape_changeling`), since one person's recording was cut into many streams, under several environments.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_tools.importers import command
from data_tools.importers.importing import Format
from data_tools.importers.recording import Recording, Track, files_below
from data_tools.importers.source_file import bad, integer, numeric, parse_json, read_npz, read_text
from mstv.data.schema import ActionSpec
from mstv.errors import UserError

TICKS_A_SECOND = 20.0
_BUTTONS = ("attack", "back", "forward", "jump", "left", "right", "sneak", "sprint", "use")
_ITEMS = ("place", "equip", "craft", "nearbyCraft", "nearbySmelt")
SPEC = ActionSpec(
    kind="vector",
    names=(*_BUTTONS, *_ITEMS, "camera_pitch", "camera_yaw"),
    units=("0/1",) * len(_BUTTONS + _ITEMS) + ("degrees",) * 2,
)
_POSE = ("xpos", "ypos", "zpos", "yaw", "pitch")
_STREAM = re.compile(r"^(?:v\d+_)?(?P<name>.+?)(?:-\d+)?(?:_\d+-\d+)?$")
_FILES = ("recording.mp4", "rendered.npz")


def find(folder: Path, leave_out: Path) -> list[Recording]:
    """Streams below `folder`: folders with a `recording.mp4` or a `rendered.npz`."""
    streams = sorted({name.parent for name in files_below(folder, leave_out) if name.name in _FILES})
    if not streams:
        raise UserError(f"{folder}: holds no {' and '.join(_FILES)}: give the folder of the environments")
    recordings = []
    for stream in streams:
        match = _STREAM.match((folder / stream).absolute().name)
        assert match is not None  # for any name
        video = stream / _FILES[0]
        files = (folder / stream / _FILES[1], folder / stream / "metadata.json")
        recordings.append(Recording(folder / video, str(video), f"minerl-{match['name']}", files))
    return recordings


def read(recording: Recording) -> Track:
    """Actions and poses of a stream."""
    path, metadata = recording.files
    arrays = read_npz(path)
    num_steps = len(numeric(arrays, "reward", path, (None,)))
    states = num_steps + 1
    in_video = integer(parse_json(read_text(metadata), metadata), "true_video_frame_count", metadata, 0, 10**9)
    if in_video < states:
        raise bad(
            metadata, f"field true_video_frame_count is {in_video}, but {path.name} holds {states} states (reward + 1)"
        )
    columns = [_button(arrays, name, path, num_steps) for name in (*_BUTTONS, *_ITEMS)]
    columns.extend(numeric(arrays, "action$camera", path, (num_steps, 2)).T)
    actions = np.zeros((states, SPEC.size), np.float32)
    actions[1:] = np.stack(columns, axis=1)
    known = {f"action${name}" for name in (*_BUTTONS, *_ITEMS, "camera")}
    other = sorted(name for name in arrays if name.startswith("action$") and name not in known)
    return Track(
        SPEC,
        actions,
        _poses(arrays, path, states),
        TICKS_A_SECOND,
        drop=in_video - states,
        shift=1,
        settings={"actions_left_out": ", ".join(other)} if other else {},
    )


def _button(arrays: Mapping[str, np.ndarray], name: str, path: Path, num_steps: int) -> np.ndarray:
    field = f"action${name}"
    if field not in arrays:
        return np.zeros(num_steps)
    values = arrays[field]
    if name in _ITEMS and values.dtype.kind == "U" and values.shape == (num_steps,):
        return ~np.isin(values, ("none", ""))
    return numeric(arrays, field, path, (num_steps,)) != 0


def _poses(arrays: Mapping[str, np.ndarray], path: Path, states: int) -> np.ndarray | None:
    found = {}
    for field in arrays:
        first, _, last = field.rpartition("$")
        if first.startswith("observation") and last in _POSE:
            found[last] = field
    if len(found) < len(_POSE):
        return None
    columns = []
    for name in _POSE:
        # Some versions store numbers as arrays of one.
        shape = (states, 1) if arrays[found[name]].ndim == 2 else (states,)
        columns.append(numeric(arrays, found[name], path, shape).reshape(states))
    return np.stack(columns, axis=1).astype(np.float32)


FORMAT = Format("minerl", find, read)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data import minerl`."""
    command.add_arguments(parser, "folder of environments: <Env>/<stream>/recording.mp4, rendered.npz, metadata.json")


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data import minerl`."""
    return command.run(FORMAT, arguments)
