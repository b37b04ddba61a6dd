"""`mstv-data import vpt`: VPT contractor recordings.

Format: `<name>.mp4` (20 frames a second) and `<name>.jsonl`, one JSON object a frame: `mouse` {dx, dy, buttons,
newButtons}, `keyboard.keys`, `isGuiOpen`, `hotbar`, `tick`, and the player's `xpos`, `ypos`, `zpos`, `yaw`, `pitch`.

Quirks:
- Line t acts after frame t, so actions move by +1; the last line's action produced no frame.
- Mouse pixels * 360 / 2400 are degrees: (dy, dx) -> (camera_pitch down, camera_yaw right), floats, never truncated.
- Stuck attack: if line 0 has `newButtons` [0], button 0 is dropped until a later `newButtons` holds 0.
- The mouse wheel leaves no trace but `hotbar`: a change of it to k is the action hotbar.(k + 1).
- Missing lines: where fewer lines than frames are there, and gaps in `tick` tell where the others were, their frames
  stay, with the null action and the pose of the line before. Lines of null actions stay too: the video would
  otherwise jump.
- In a GUI the mouse moves the cursor, which is not in the video. Its motion is in the camera columns all the same, as
  in VPT; the column isGuiOpen tells the two apart.

Mapping: mouse buttons 0, 1, 2 = attack, use, pickItem; keys by `_KEYS`; other keys are ignored. Poses are as recorded,
in blocks and degrees: yaw grows to the right and is not wrapped, pitch grows downwards.

World: the name without date and time (`<player>-<id>-20210720-165349` -> `<player>-<id>`), since a session was cut into
files of some minutes.
"""

import argparse
import re
from pathlib import Path

import numpy as np

from data_tools.importers import command
from data_tools.importers.importing import Format
from data_tools.importers.recording import Recording, Track, find_pairs
from data_tools.importers.source_file import bad, integer, items, number, parse_json, read_text
from data_tools.importers.video_frames import count_frames
from mstv.data.schema import ActionSpec

TICKS_A_SECOND = 20.0
DEGREES_A_PIXEL = 360 / 2400
_KEYS = {
    "w": "forward",
    "s": "back",
    "a": "left",
    "d": "right",
    "space": "jump",
    "left.shift": "sneak",
    "left.control": "sprint",
    "q": "drop",
    "f": "swapHands",
    "e": "inventory",
    "escape": "ESC",
    **{str(slot): f"hotbar.{slot}" for slot in range(1, 10)},
}
_BUTTONS = ("attack", "use", "pickItem")
_NAMES = (*_BUTTONS, *_KEYS.values(), "isGuiOpen", "camera_pitch", "camera_yaw")
SPEC = ActionSpec(kind="vector", names=_NAMES, units=("0/1",) * (len(_NAMES) - 2) + ("degrees",) * 2)
_POSE = ("xpos", "ypos", "zpos", "yaw", "pitch")
_WHEN = re.compile(r"-\d{8}-\d{6}$")


def find(folder: Path, leave_out: Path) -> list[Recording]:
    """Recordings below `folder`: names with an mp4 or a jsonl."""
    return [
        Recording(folder / video, str(video), f"vpt-{_WHEN.sub('', video.stem)}", (folder / log,))
        for video, log in find_pairs(folder, leave_out, (".mp4",), ".jsonl")
    ]


def read(recording: Recording) -> Track:
    """Actions and poses of a recording."""
    path = recording.files[0]
    lines = read_text(path).rstrip().split("\n")
    entries = [(parse_json(line, f"{path}: line {n}"), f"{path}: line {n}") for n, line in enumerate(lines, 1)]
    after = np.zeros((len(entries), SPEC.size), np.float32)
    poses = np.zeros((len(entries), len(_POSE)), np.float32)
    attack_is_stuck = items(entries[0][0], "mouse.newButtons", entries[0][1], int) == [0]
    slot = None
    for row, (entry, where) in enumerate(entries):
        poses[row] = [number(entry, name, where) for name in _POSE]
        pressed = {_KEYS[key] for name in items(entry, "keyboard.keys", where, str) if (key := _key(name)) in _KEYS}
        buttons = items(entry, "mouse.buttons", where, int)
        if row and 0 in items(entry, "mouse.newButtons", where, int):
            attack_is_stuck = False
        pressed |= {name for button, name in enumerate(_BUTTONS) if button in buttons}
        if attack_is_stuck:
            pressed.discard("attack")
        before, slot = slot, integer(entry, "hotbar", where, 0, 8)
        if before not in (None, slot):
            pressed.add(f"hotbar.{slot + 1}")
        if integer(entry, "isGuiOpen", where, 0, 1):
            pressed.add("isGuiOpen")
        for name in pressed:
            after[row, _NAMES.index(name)] = 1
        after[row, -2:] = [number(entry, f"mouse.{axis}", where) * DEGREES_A_PIXEL for axis in ("dy", "dx")]
    num_frames = count_frames(recording.video)
    frames = _frames_of(entries, num_frames, recording)
    actions = np.zeros((num_frames + 1, SPEC.size), np.float32)
    actions[frames + 1] = after
    line_of = np.searchsorted(frames, np.arange(num_frames), side="right") - 1
    return Track(SPEC, actions[:-1], poses[line_of], TICKS_A_SECOND, shift=1)


def _key(name: str) -> str:
    return name.removeprefix("key.keyboard.")


def _frames_of(entries: list[tuple[object, str]], num_frames: int, recording: Recording) -> np.ndarray:
    """Frame of each line: its number, or by its tick where lines are missing."""
    if len(entries) == num_frames:
        return np.arange(num_frames)
    if len(entries) < num_frames:
        ticks = np.array([integer(entry, "tick", where, 0, 2**31) for entry, where in entries])
        if (np.diff(ticks) > 0).all() and ticks[-1] - ticks[0] + 1 == num_frames:
            return ticks - ticks[0]
    raise bad(
        recording.files[0],
        f"holds {len(entries)} lines, but {recording.video.name} {num_frames} frames, and field tick does not tell why",
    )


FORMAT = Format("vpt", find, read)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data import vpt`."""
    command.add_arguments(parser, "folder of <name>.mp4 and <name>.jsonl")


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data import vpt`."""
    return command.run(FORMAT, arguments)
