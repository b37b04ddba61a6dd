"""Tiny recordings in each foreign format, whose frames show their own number, so that a test can see what belongs to
which frame: video frame n shows n, and row i of every array says i."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from data_tools.cli import main
from data_tools.episode import RawEpisodes
from mstv.data.schema import ACTIONS, POSES, Episode
from mstv.data.video import decode_video

SIDE, CELLS = 64, 4


def write_numbers(path: Path, num_frames: int, rate: int = 20, codec: str = "libx264", halt: int = 0) -> Path:
    """Write a video of `num_frames` pictures that show 0, 1, ... as 16 black and white cells.

    Before every eighth frame, `halt` frames' time goes by without one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height = stream.width = SIDE
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "crf": "10"}
        for number in range(num_frames):
            bits = (number >> np.arange(CELLS**2)) & 1
            cells = np.where(bits, 235, 20).astype(np.uint8).reshape(CELLS, CELLS)
            picture = np.repeat(cells.repeat(SIDE // CELLS, 0).repeat(SIDE // CELLS, 1)[..., None], 3, 2)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number + number // 8 * halt, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_numbers(frames: np.ndarray) -> list[int]:
    """What `write_numbers` wrote, from uint8 (T, H, W, 3)."""
    cell = frames.shape[1] // CELLS
    middles = frames[:, cell // 2 :: cell, cell // 2 :: cell, 1] > 127
    return [int((bits.reshape(-1) << np.arange(CELLS**2)).sum()) for bits in middles]


class Imported(NamedTuple):
    """An episode as a test wants it: `numbers[t]` is the source frame that frame t shows."""

    numbers: list[int]
    actions: np.ndarray
    poses: np.ndarray | None
    record: Episode

    def column(self, name: str) -> np.ndarray:
        """A column of the actions."""
        return self.actions[:, self.record.actions.names.index(name)]


def import_set(form: str, source: Path, out: Path, *options: str) -> int:
    """Run the command on one worker; its exit code."""
    return main(["import", form, str(source), str(out), "--size", "32", "--workers", "1", *options])


def episodes(out: Path) -> dict[str, Imported]:
    """All episodes of a folder."""
    raw = RawEpisodes(out)
    return {
        key: Imported(
            read_numbers(decode_video(raw.video(key))), raw.array(key, ACTIONS), raw.array(key, POSES), record
        )
        for key, record in raw.records.items()
    }


def imported(form: str, source: Path, out: Path, *options: str) -> dict[str, Imported]:
    """Import, which must succeed, and read what came out."""
    assert import_set(form, source, out, *options) == 0
    return episodes(out)


def write_json(path: Path, value: object) -> Path:
    """Write JSON, with the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def minerl(folder: Path, name: str, steps: int = 39, leading: int = 5, **changes: Any) -> Path:
    """`steps` actions between steps + 1 states, after `leading` frames; camera[i] = (i + .625, -i - .125)."""
    stream = folder / name
    i = np.arange(steps)
    arrays = {
        "reward": np.zeros(steps, np.float32),
        "action$forward": (i % 2).astype(np.int64),
        "action$attack": (i % 3 == 0).astype(np.int64),
        "action$camera": np.stack([i + 0.625, -i - 0.125], 1).astype(np.float32),
        "action$place": np.where(i % 5 == 0, "dirt", "none"),
        "observation$inventory$dirt": np.zeros(steps + 1, np.int64),
        **changes,
    }
    write_numbers(stream / "recording.mp4", leading + steps + 1)
    np.savez(stream / "rendered.npz", **{key: value for key, value in arrays.items() if value is not None})
    write_json(
        stream / "metadata.json",
        {
            "success": True,
            "duration_ms": 50 * steps,
            "duration_steps": steps,
            "total_reward": 0.0,
            "stream_name": stream.name,
            "true_video_frame_count": leading + steps + 1,
        },
    )
    return stream


def vpt_line(i: int, **changes: Any) -> dict[str, Any]:
    """Line i: the mouse moved (dx, dy) = (37, -i) pixels, the pose is (i, 64, -i, i / 2, -i / 4)."""
    line = {
        "mouse": {"x": 0.0, "y": 0.0, "dx": 37.0, "dy": float(-i), "dwheel": 0, "buttons": [], "newButtons": []},
        "keyboard": {"keys": ["key.keyboard.w", "key.keyboard.unknown"], "newKeys": [], "chars": ""},
        "isGuiOpen": False,
        "hotbar": 0,
        "yaw": i / 2,
        "pitch": -i / 4,
        "xpos": float(i),
        "ypos": 64.0,
        "zpos": float(-i),
        "tick": 1000 + i,
        "milli": 1626795230000 + 50 * i,
    }
    line["mouse"].update({key: changes.pop(key) for key in ("buttons", "newButtons", "dx", "dy") if key in changes})
    return {**line, **changes}


def vpt(folder: Path, name: str, lines: list[dict[str, Any]] | None = None, num_frames: int = 40) -> Path:
    """A recording of `num_frames` frames."""
    lines = [vpt_line(i) for i in range(num_frames)] if lines is None else lines
    write_numbers(folder / f"{name}.mp4", num_frames)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_json(folder / f"{name}-options.json", {"fov": 70})
    return folder / f"{name}.mp4"


def loopcraft(folder: Path, name: str, rows: np.ndarray | None = None) -> Path:
    """A walk; row i = (i % 3, i, 2, -i, 22.5 * turns so far, 0). The index grows by it."""
    if rows is None:
        ids = np.arange(40) % 3
        yaw = np.cumsum(np.where(ids == 1, -22.5, np.where(ids == 2, 45.0, 0)))
        rows = np.stack([ids, np.arange(40), np.full(40, 2), -np.arange(40), yaw, np.zeros(40)], 1).astype(np.float32)
    write_numbers(folder / f"{name}.mp4", len(rows))
    np.save(folder / f"{name}.npy", rows)
    index = folder / "index.json"
    write_json(index, {**(json.loads(index.read_text()) if index.exists() else {}), name: len(rows)})
    return folder / f"{name}.mp4"


def gamefactory(folder: Path, name: str, num_frames: int = 40, change: Any = None) -> Path:
    """A recording; entry k has (pitch_delta, yaw_delta) = (k / 10, -k / 100); entries stand backwards."""
    entries = {
        str(k): {"ws": k % 3, "ad": 2 - k % 3, "scs": k % 4, "pitch_delta": k / 10, "yaw_delta": -k / 100}
        for k in reversed(range(num_frames))
    }
    for entry in entries.values():
        if change is not None:
            change(entry)
    write_numbers(folder / "video" / f"{name}.mp4", num_frames, rate=16)
    write_json(folder / "metadata" / f"{name}.json", {"biome": "plains", "initial_weather": "rain", "actions": entries})
    (folder / "annotation.csv").write_text(
        f"Original video name,Start frame index,End frame index,Prompt\n../../{name}.mp4,0,77,grass\n"
    )
    return folder / "video" / f"{name}.mp4"


def loopnav_entry(i: int, **changes: Any) -> dict[str, Any]:
    """Entry i: pose (i, 64, -i), yaw i / 100, pitch -i / 200; camera (.5 + i / 1000, -.25 - i / 1000); radians."""
    buttons = ("forward", "back", "left", "right", "jump", "sprint", "sneak")
    return {
        "pitch": -i / 200,
        "goal": None if i < 5 else {"x": 100, "y": 64, "z": -3},
        "frame_count": 20 + i,
        "action": {
            "camera": [0.5 + i / 1000, -0.25 - i / 1000],
            **{button: i % 7 == number for number, button in enumerate(buttons)},
        },
        "z": float(-i),
        "yaw": i / 100,
        "x": i,
        "extra_info": {"seed": 42},
        "y": 64.0,
        **changes,
    }


def loopnav(folder: Path, name: str, entries: list[dict[str, Any]] | None = None, suffix: str = ".avi") -> Path:
    """A walk of 40 frames."""
    entries = [loopnav_entry(i) for i in range(40)] if entries is None else entries
    write_numbers(folder / f"{name}{suffix}", len(entries), codec="mjpeg" if suffix == ".avi" else "libx264")
    write_json(folder / f"{name}.json", entries)
    return folder / f"{name}{suffix}"


def worldmem(folder: Path, name: str, num_frames: int = 40, **changes: Any) -> Path:
    """A recording; row i turns by (i % 25, 24 - i % 25) - 12 steps, and its pose is (i, 64, -i, pitch i, yaw -i)."""
    i = np.arange(num_frames)
    actions = np.stack([i % 3, i % 3, i % 4, i % 25, 24 - i % 25, i % 8, i % 9, i % 36], 1).astype(np.int32)
    actions[0] = (0, 0, 0, 12, 12, 0, 0, 0)
    poses = np.stack([i, 64 + 0 * i, -i, i, -i], 1).astype(np.float64)
    path = write_numbers(folder / f"{name}.mp4", num_frames, rate=10)
    arrays = {"actions": actions, "poses": poses, **changes}
    np.savez_compressed(path.with_suffix(".npz"), **{key: value for key, value in arrays.items() if value is not None})
    return path


def teco(folder: Path, name: str, num_frames: int = 40, **changes: Any) -> Path:
    """A recording; entry i is 1 + i % 3, entry 0 is 0, and there is one entry more than frames."""
    actions = (1 + np.arange(num_frames + 1) % 3).astype(np.int32)
    actions[0] = 0
    path = write_numbers(folder / f"{name}.mp4", num_frames)
    arrays = {"actions": actions, **changes}
    np.savez(path.with_suffix(".npz"), **{key: value for key, value in arrays.items() if value is not None})
    return path
