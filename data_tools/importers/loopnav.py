"""`mstv-data import loopnav`: LoopNav walks.

Format: `{ABA|ABCA}/<place>/<range>/<stamp>.avi` or `.mp4`, and `.json`: a list with one object a frame: x, y, z in
blocks, yaw and pitch in radians, `action` {7 booleans, camera [dyaw, dpitch] in radians}, `goal`, `frame_count`.

Quirks:
- An entry's action produced its frame, so nothing moves. Its keys come in any order.
- `camera` is (yaw, pitch), the other way round than elsewhere.
- Idle ticks emit no frame, so time between frames is not uniform; `frame_count` must grow, though it begins late.
- `goal`, where the walker is heading or null, is not part of an episode. It tells where the way back begins, which is
  kept in `source.settings.return_frame`: the first frame, counted from the file's start, of the last goal, if that lies
  where the walk began (within 2 blocks, heights aside) and another goal came before. A walk that was broken off has
  none.
- Where a walk is there as avi and as mp4, the avi is taken, as recorded.

Mapping: radians -> degrees, floats: poses, camera_pitch, camera_yaw. Signs are kept: they are those of the bot that
walked, whose yaw grows to the left (counterclockwise seen from above, 0 north) and whose pitch grows upwards, both
against Minecraft's own.

World: the place, in both kinds of walk and all ranges, since all walks of a place are in one map.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.importers import command
from data_tools.importers.importing import Format
from data_tools.importers.recording import Recording, Track, find_pairs
from data_tools.importers.source_file import bad, integer, items, number, parse_json, read_text
from mstv.data.schema import ActionSpec

_BUTTONS = ("forward", "back", "left", "right", "jump", "sprint", "sneak")
SPEC = ActionSpec(
    kind="vector",
    names=(*_BUTTONS, "camera_pitch", "camera_yaw"),
    units=("0/1",) * len(_BUTTONS) + ("degrees",) * 2,
)
HOME_BLOCKS = 2.0
"""How far from its first place a walk's last goal may lie: walkers are sent to within a block of it."""


def find(folder: Path, leave_out: Path) -> list[Recording]:
    """Walks below `folder`: names with a video or a json."""
    return [
        Recording(folder / video, str(video), f"loopnav-{_place(folder / video)}", (folder / beside,))
        for video, beside in find_pairs(folder, leave_out, (".avi", ".mp4"), ".json")
    ]


def _place(video: Path) -> str:
    return video.absolute().parent.parent.name


def read(recording: Recording) -> Track:
    """Actions and poses of a walk."""
    path = recording.files[0]
    entries = parse_json(read_text(path), path)
    if not isinstance(entries, list):
        raise bad(path, "is no list of frames")
    goals = []
    actions = np.zeros((len(entries), SPEC.size), np.float32)
    poses = np.zeros((len(entries), 5), np.float32)
    last = -1
    for row, entry in enumerate(entries):
        where = f"{path}: entry {row}"
        count = integer(entry, "frame_count", where, 0, 10**9)
        if count <= last:
            raise bad(where, f"field frame_count is {count} after {last}: entries are doubled or out of order")
        last = count
        poses[row, :3] = [number(entry, axis, where) for axis in "xyz"]
        poses[row, 3:] = [math.degrees(number(entry, name, where)) for name in ("yaw", "pitch")]
        actions[row, :-2] = [integer(entry, f"action.{name}", where, 0, 1) for name in _BUTTONS]
        goals.append(entry.get("goal"))
        turn = dict(zip(("yaw", "pitch"), items(entry, "action.camera", where, int | float, 2), strict=True))
        where = f"{where}: field action.camera"
        actions[row, -2:] = [math.degrees(number(turn, name, where)) for name in ("pitch", "yaw")]
    way_back = return_frame(goals, poses)
    return Track(SPEC, actions, poses, settings={} if way_back is None else {"return_frame": way_back})


def return_frame(goals: Sequence[Any], poses: np.ndarray) -> int | None:
    """The frame from which a walk heads for where it began, as its last goal; None where the goals do not tell.

    Args:
        goals: of each frame: an object with x and z, or null where the walker is heading nowhere.
        poses: (T, 5), in blocks and degrees.
    """
    places = [(goal.get("x"), goal.get("z")) if isinstance(goal, dict) else None for goal in goals]
    known = [frame for frame, place in enumerate(places) if place is not None]
    others = [frame for frame in known if places[frame] != places[known[-1]]]
    if not others:
        return None
    x, z = places[known[-1]] or (None, None)
    if not isinstance(x, int | float) or not isinstance(z, int | float):
        return None
    away = math.hypot(x - float(poses[0, 0]), z - float(poses[0, 2]))
    return next(frame for frame in known if frame > others[-1]) if away <= HOME_BLOCKS else None


FORMAT = Format("loopnav", find, read)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data import loopnav`."""
    command.add_arguments(parser, "folder of ABA and ABCA, or one below: <place>/<range>/<stamp>.avi or .mp4, .json")


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data import loopnav`."""
    return command.run(FORMAT, arguments)
