"""`mstv-data import loopcraft`: Loopcraft walks.

Format: `index.json` = {key: frames}, with keys such as `008/071`, and per key `<key>.mp4` (256x256) and `<key>.npy`,
float32 (N, 6): action id, x, y, z, yaw, pitch per frame.

Quirks:
- The format does not say whether the id in row t produced frame t or follows it, but its poses do: ids stay as they
  are, unless the yaw changes exactly where the ids moved by +1 turn, and not where they stand. `action_shift` tells.
- The published split is kept in `source.settings.published_split`: the sorted items of the index, shuffled by Python's
  random.Random(0); the first 1 % (rounded down) are test.
- Walks of the index of which no file is here are left out, as after a partial download; the split is that of the whole
  index, and `subset` is set.

Mapping: ids 0 forward, 1 and 2 the two turns; poses as recorded, in blocks and degrees.

World: the folder in the key (`008`), since walks in one folder may share a world.
"""

import argparse
import random
from pathlib import Path

import numpy as np

from data_tools.importers import command
from data_tools.importers.importing import Format
from data_tools.importers.recording import Recording, Track
from data_tools.importers.source_file import bad, inside, integer, numeric, parse_json, read_npy, read_text, within
from mstv.data.schema import ActionSpec
from mstv.errors import UserError

SPEC = ActionSpec(kind="discrete", names=("forward", "turn_1", "turn_2"))
INDEX = "index.json"
_STILL = 1e-3
"""Degrees; a smaller change of yaw is no turn."""


def find(folder: Path, leave_out: Path) -> list[Recording]:
    """Walks of the index of which at least one file is here."""
    path = folder / INDEX
    if not path.is_file():
        raise UserError(f"{path}: is missing: give the folder that holds {INDEX}")
    index = parse_json(read_text(path), path)
    if not isinstance(index, dict) or not index:
        raise bad(path, "is no object of frame counts by key")
    frames = {key: integer({"frames": n}, "frames", f"{path}: entry {key!r}", 1, 10**9) for key, n in index.items()}
    test = published_test(frames)
    stems = {key: inside(key, path) for key in sorted(frames)}
    here = [key for key, stem in stems.items() if any((folder / f"{stem}.{end}").is_file() for end in ("mp4", "npy"))]
    if not here:
        raise UserError(f"{path}: names {len(frames)} walks, but no file of them is here: download some beside it")
    return [
        Recording(
            folder / f"{stems[key]}.mp4",
            f"{stems[key]}.mp4",
            world=f"loopcraft-{stems[key].parts[0]}",
            files=(folder / f"{stems[key]}.npy",),
            split="test" if key in test else "train",
            num_frames=frames[key],
            subset=len(here) < len(frames),
        )
        for key in here
    ]


def published_test(frames: dict[str, int]) -> set[str]:
    """Keys of the published test split, by the frames of every key of the index."""
    items = sorted(frames.items())
    random.Random(0).shuffle(items)
    return {key for key, _ in items[: len(items) // 100]}


def read(recording: Recording) -> Track:
    """Actions and poses of a walk."""
    path = recording.files[0]
    rows = numeric({"array": read_npy(path)}, "array", path, (None, 6), "f")
    if len(rows) != recording.num_frames:
        raise bad(path, f"holds {len(rows)} rows, but {INDEX} says {recording.num_frames} frames")
    if not np.array_equal(rows[:, 0], np.trunc(rows[:, 0])):
        raise bad(path, "column 0 holds an action id that is no whole number")
    ids = within(rows[:, 0], "column 0", path, 0, SPEC.size - 1).astype(np.int16)
    shift = _shift(ids, rows[:, 4])
    actions = np.full(len(ids), -1, np.int16)
    actions[1:] = ids[1 - shift : len(ids) - shift]
    return Track(SPEC, actions, rows[:, 1:].astype(np.float32), shift=shift)


def _shift(ids: np.ndarray, yaw: np.ndarray) -> int:
    """1 if the yaw shows that the id in a row follows the row's frame, else 0."""
    turned = np.abs((np.diff(yaw) + 180) % 360 - 180) > _STILL
    stands, follows = (np.array_equal(turned, part > 0) for part in (ids[1:], ids[:-1]))
    return int(follows and not stands and bool(turned.any()))


FORMAT = Format("loopcraft", find, read)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data import loopcraft`."""
    command.add_arguments(parser, f"folder that holds {INDEX}, <key>.mp4 and <key>.npy")


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data import loopcraft`."""
    return command.run(FORMAT, arguments)
