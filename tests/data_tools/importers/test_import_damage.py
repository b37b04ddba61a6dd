"""Every importer on damaged input: one line that names file and field, nothing half-written, the others imported."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data_tools.importers import foreign_sets
from tests.data_tools.importers.foreign_sets import SIDE, episodes, import_set, write_numbers

NAMES = {
    "minerl": ("Env-v0/v3_a_b-1_0-9", "Env-v0/v3_c_d-1_0-9"),
    "vpt": ("a-1-20210720-165349", "b-1-20210720-165349"),
    "loopcraft": ("008/071", "009/071"),
    "gamefactory": ("seed_1_part_1", "seed_2_part_1"),
    "loopnav": ("ABA/p/5/1", "ABA/q/5/1"),
    "worldmem": ("training/1/000000", "training/2/000000"),
    "teco": ("train/1/000000", "train/2/000000"),
}
VIDEO = {"minerl": "{}/recording.mp4", "gamefactory": "video/{}.mp4", "loopnav": "{}.avi"}
DATA = {
    "minerl": "{}/rendered.npz",
    "vpt": "{}.jsonl",
    "loopcraft": "{}.npy",
    "gamefactory": "metadata/{}.json",
    "loopnav": "{}.json",
    "worldmem": "{}.npz",
    "teco": "{}.npz",
}


def make_set(form: str, folder: Path) -> tuple[Path, Path]:
    """Two recordings; video and data of the first."""
    for name in NAMES[form]:
        getattr(foreign_sets, form)(folder, name)
    first = NAMES[form][0]
    return folder / VIDEO.get(form, "{}.mp4").format(first), folder / DATA[form].format(first)


def check_damage(form: str, tmp_path: Path, damaged: Path, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The import names `damaged` and `problem` and leaves nothing of it; --skip-bad lists it and imports the other."""
    source, out = tmp_path / "in", tmp_path / "raw"
    small = ("--segment-frames", "16", "--min-frames", "2")
    assert import_set(form, source, out, *small) == 2
    *bar, told = capsys.readouterr().err.splitlines()
    assert not bar or bar[0].startswith("import ")
    assert len(bar) <= 1 and told.startswith(f"mstv-data: error: {damaged}"), (bar, told)
    assert problem in told and "--skip-bad" in told, told
    assert not os.listdir(out)
    assert import_set(form, source, out, *small, "--skip-bad") == 0
    listed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out: ")]
    assert len(listed) == 1 and problem in listed[0]
    left = episodes(out)
    assert [e.record.num_frames for e in left.values()] == [16, 16, 8]
    extensions = 3 if next(iter(left.values())).poses is None else 4
    assert len(os.listdir(out)) == 3 * extensions


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("form", NAMES)
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (half, ""),
        (lambda path: path.write_bytes(b""), "holds no bytes"),
        (lambda path: path.write_bytes(b"nothing of the kind" * 99), "not a readable video"),
        (Path.unlink, "is missing, it belongs to"),
        (lambda path: write_numbers(path, 39, codec="mjpeg" if path.suffix == ".avi" else "libx264"), "39"),
        (lambda path: write_numbers(path, 51, codec="mjpeg" if path.suffix == ".avi" else "libx264"), "51"),
    ],
    ids=["half", "empty", "garbage", "missing", "short", "long"],
)
def test_damaged_videos(
    form: str, damage: Callable[[Path], Any], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, data = make_set(form, tmp_path / "in")
    damage(video)
    if form == "minerl" and problem.isdecimal():
        problem = str(int(problem) - 5)  # told after the leading frames
    # VPT counts the frames before it reads on, and then it is the lines that do not fit.
    named = data if form == "vpt" and problem.isdecimal() else video
    check_damage(form, tmp_path, named, problem, capsys)


@pytest.mark.parametrize("form", NAMES)
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (half, ""),
        (lambda path: path.write_bytes(b""), ""),
        (lambda path: path.write_bytes(b"\xff\xfe nothing of the kind" * 99), ""),
        (lambda path: path.write_bytes(b"[" * 100_000), ""),
        (Path.unlink, "is missing, it belongs to"),
    ],
    ids=["half", "empty", "garbage", "nested", "missing"],
)
def test_damaged_data(
    form: str, damage: Callable[[Path], Any], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, data = make_set(form, tmp_path / "in")
    damage(data)
    check_damage(form, tmp_path, data, problem, capsys)


NAN = np.full((39, 2), np.nan, np.float32)
OBJECTS = np.array([{"a": 1}] * 40, dtype=object)


@pytest.mark.parametrize(
    ("form", "changes", "problem"),
    [
        ("minerl", {"reward": None}, "field reward is missing"),
        ("minerl", {"action$camera": None}, "field action$camera is missing"),
        ("minerl", {"action$camera": NAN}, "field action$camera holds a NaN"),
        ("minerl", {"action$camera": np.full((39, 2), "x")}, "field action$camera is <U1"),
        ("minerl", {"action$forward": np.zeros(38)}, "field action$forward is float64 of shape (38,)"),
        ("minerl", {"action$forward": np.full(39, "x")}, "field action$forward is <U1"),
        ("minerl", {"action$place": OBJECTS}, "field action$place cannot be read"),
        ("minerl", {"reward": np.zeros(30)}, "field action$attack is int64 of shape (39,), not numbers of shape 30"),
        (
            "minerl",
            {f"observation$l${name}": np.zeros(39) for name in ("xpos", "ypos", "zpos", "yaw", "pitch")},
            "field observation$l$xpos is float64 of shape (39,)",
        ),
        ("minerl", {"action$place": None, "a\nb": OBJECTS}, "field a?b cannot be read"),
        ("worldmem", {"actions": None}, "field actions is missing"),
        ("worldmem", {"actions": np.zeros((40, 8))}, "field actions is float64"),
        ("worldmem", {"actions": np.zeros((40, 7), int)}, "of shape (40, 7)"),
        ("worldmem", {"actions": np.full((40, 8), 25)}, "field actions[:, 0] holds 25..25, not values in 0..2"),
        ("worldmem", {"actions": OBJECTS}, "field actions cannot be read"),
        ("worldmem", {"actions": np.zeros((0, 8), int), "poses": np.zeros((0, 5))}, "holds no frames"),
        ("worldmem", {"poses": None}, "field poses is missing"),
        ("worldmem", {"poses": np.full((40, 5), np.inf)}, "field poses holds a NaN or an infinity"),
        ("worldmem", {"poses": np.zeros((38, 5))}, "holds 38 poses, but actions for 40 frames"),
        ("teco", {"actions": None}, "field actions is missing"),
        ("teco", {"actions": np.full(41, 4)}, "field actions holds 4..4, not values in 0..3"),
        ("teco", {"actions": np.zeros(41)}, "field actions is float64"),
        ("teco", {"actions": np.zeros((41, 1), int)}, "of shape (41, 1)"),
        ("teco", {"actions": np.zeros(0, int)}, "holds no frames"),
        ("teco", {"actions": OBJECTS}, "field actions cannot be read"),
        ("loopcraft", {"rows": np.zeros((40, 6))[:, :5]}, "of shape (40, 5)"),
        ("loopcraft", {"rows": np.zeros((40, 6), int)}, "field array is int64"),
        ("loopcraft", {"rows": np.full((40, 6), np.nan)}, "field array holds a NaN"),
        ("loopcraft", {"rows": np.full((40, 6), 3.0)}, "field column 0 holds 3.0..3.0"),
        ("loopcraft", {"rows": np.full((40, 6), 0.5)}, "no whole number"),
        ("loopcraft", {"rows": OBJECTS}, "not a readable array file"),
    ],
)
def test_damaged_arrays(
    form: str, changes: dict[str, Any], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, data = make_set(form, tmp_path / "in")
    getattr(foreign_sets, form)(tmp_path / "in", NAMES[form][0], **changes)
    check_damage(form, tmp_path, data, problem, capsys)


MISSING = object()


@pytest.mark.parametrize(
    ("form", "field", "value", "problem"),
    [
        ("vpt", "mouse.dx", float("nan"), "line 8: field mouse.dx is nan"),
        ("vpt", "mouse.dx", "5", "line 8: field mouse.dx is '5'"),
        ("vpt", "mouse.dx", 10**400, "line 8: field mouse.dx is 1000"),
        ("vpt", "mouse", [], "line 8: field mouse"),
        ("vpt", "mouse.buttons", 0, "line 8: field mouse.buttons is 0, not a list of int"),
        ("vpt", "mouse.newButtons", MISSING, "line 8: field mouse.newButtons is missing"),
        ("vpt", "keyboard.keys", [["w"]], "line 8: field keyboard.keys"),
        ("vpt", "hotbar", 9, "line 8: field hotbar is 9.0"),
        ("vpt", "hotbar", 1.5, "line 8: field hotbar is 1.5"),
        ("vpt", "isGuiOpen", None, "line 8: field isGuiOpen is None"),
        ("vpt", "yaw", MISSING, "line 8: field yaw is missing"),
        ("gamefactory", "actions.7.ws", 3, "actions of frame 7: field ws is 3.0, not a whole number in 0..2"),
        ("gamefactory", "actions.7.yaw_delta", MISSING, "actions of frame 7: field yaw_delta is missing"),
        ("gamefactory", "actions.7.yaw_delta", float("inf"), "actions of frame 7: field yaw_delta is inf"),
        ("gamefactory", "actions.7", MISSING, "holds 39 entries, but none for frame 7"),
        ("gamefactory", "actions.7", 1, "actions of frame 7: is no object"),
        ("gamefactory", "actions", [], "field actions is no object"),
        ("gamefactory", "actions", MISSING, "field actions is missing"),
        ("loopnav", "7.x", "here", "entry 7: field x is 'here'"),
        ("loopnav", "7.yaw", float("nan"), "entry 7: field yaw is nan"),
        ("loopnav", "7.action.camera", [1], "entry 7: field action.camera holds 1 values, not 2"),
        ("loopnav", "7.action.camera", [1, float("nan")], "entry 7: field action.camera: field pitch is nan"),
        ("loopnav", "7.action.sneak", MISSING, "entry 7: field action.sneak is missing"),
        ("loopnav", "7.action.sneak", 2, "entry 7: field action.sneak is 2.0"),
        ("loopnav", "7.frame_count", MISSING, "entry 7: field frame_count is missing"),
        ("loopnav", "7", None, "entry 7: field frame_count is missing"),
        ("minerl", "true_video_frame_count", MISSING, "metadata.json: field true_video_frame_count is missing"),
        ("minerl", "true_video_frame_count", -1, "field true_video_frame_count is -1.0"),
        ("minerl", "true_video_frame_count", 46, "holds 39 frames after the first 6, but rendered.npz is for 40"),
    ],
)
def test_damaged_json(
    form: str, field: str, value: object, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, data = make_set(form, tmp_path / "in")
    path = data.with_name("metadata.json") if form == "minerl" else data
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    *parts, last = field.split(".")
    holder: Any = lines[7] if form == "vpt" else lines[0]
    for part in parts:
        holder = holder[int(part) if isinstance(holder, list) else part]
    if value is MISSING:
        del holder[last]
    else:
        holder[int(last) if isinstance(holder, list) else last] = value
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    check_damage(form, tmp_path, video if "after the first" in problem else path, problem, capsys)


@pytest.mark.parametrize("form", NAMES)
def test_folders_without_the_format(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "absent"):
        assert import_set(form, tmp_path / folder, tmp_path / "raw") == 2
        told = capsys.readouterr().err
        assert str(tmp_path / folder) in told and ": give " in told and told.count("\n") == 1


def test_the_pictures_are_the_size_that_was_asked_for(tmp_path: Path) -> None:
    make_set("teco", tmp_path / "in")
    assert import_set("teco", tmp_path / "in", tmp_path / "raw") == 0
    record = next(iter(episodes(tmp_path / "raw").values())).record
    assert (record.height, record.width) == (32, 32) != (SIDE, SIDE)


def test_a_name_that_is_not_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_set("teco", tmp_path / "in")
    (tmp_path / "in" / "train" / os.fsdecode(b"caf\xe9.mp4")).touch()
    assert import_set("teco", tmp_path / "in", tmp_path / "raw") == 2
    assert r"holds 'train/caf\udce9.mp4', a name that is not UTF-8" in capsys.readouterr().err
