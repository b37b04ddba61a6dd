"""`mstv-data import vpt`."""

from pathlib import Path

import numpy as np
import pytest

from tests.data_tools.importers.foreign_sets import import_set, imported, vpt, vpt_line, write_numbers

NAME = "Player341-f153ac423f61-20210720-165349"


def test_line_t_acts_after_frame_t_in_float_degrees(tmp_path: Path) -> None:
    vpt(tmp_path / "in", NAME)
    (key, episode), *rest = imported("vpt", tmp_path / "in", tmp_path / "raw").items()
    assert not rest and key == f"{NAME}-0000"
    assert episode.numbers == list(range(40))
    assert not episode.actions[0].any()
    # 37 pixels are 5.55 degrees, not 5; dy is pitch, dx is yaw.
    assert np.allclose(episode.column("camera_yaw")[1:], 5.55, atol=1e-6)
    assert np.allclose(episode.column("camera_pitch")[1:], -np.arange(39) * 0.15, atol=1e-6)
    assert (episode.column("forward")[1:] == 1).all() and not episode.column("back").any()
    t = np.arange(40)
    assert np.array_equal(episode.poses, np.stack([t, 64 + 0 * t, -t, t / 2, -t / 4], 1).astype(np.float32))
    record = episode.record
    assert (record.action_shift, record.fps, record.source.world) == (1, 20, "vpt-Player341-f153ac423f61")


def test_stuck_attack_is_dropped_until_it_is_pressed_anew(tmp_path: Path) -> None:
    lines = [vpt_line(i, buttons=[0, 1]) for i in range(40)]
    lines[0]["mouse"]["newButtons"] = [0]
    lines[9]["mouse"]["newButtons"] = [1]
    lines[10]["mouse"]["newButtons"] = [1, 0]
    vpt(tmp_path / "in", "stuck", lines)
    del lines[0]["mouse"]["newButtons"][:]
    vpt(tmp_path / "in", "free", lines)
    found = imported("vpt", tmp_path / "in", tmp_path / "raw")
    # Line 10 produced frame 11.
    assert np.flatnonzero(found["stuck-0000"].column("attack")).tolist() == list(range(11, 40))
    assert np.flatnonzero(found["stuck-0000"].column("use")).tolist() == list(range(1, 40))
    assert np.flatnonzero(found["free-0000"].column("attack")).tolist() == list(range(1, 40))


def test_hotbar_changes_and_an_open_gui(tmp_path: Path) -> None:
    lines = [vpt_line(i, hotbar=3 if i < 7 else 8, isGuiOpen=20 <= i < 25) for i in range(40)]
    lines[30]["keyboard"]["keys"] = ["key.keyboard.2", "key.keyboard.left.shift", "key.keyboard.escape"]
    vpt(tmp_path / "in", NAME, lines)
    (episode,) = imported("vpt", tmp_path / "in", tmp_path / "raw").values()
    pressed = {
        name: np.flatnonzero(episode.column(name)).tolist() for name in (f"hotbar.{slot}" for slot in range(1, 10))
    }
    assert {name: frames for name, frames in pressed.items() if frames} == {"hotbar.9": [8], "hotbar.2": [31]}
    assert np.flatnonzero(episode.column("isGuiOpen")).tolist() == list(range(21, 26))
    assert [episode.column(name)[31] for name in ("sneak", "ESC", "forward")] == [1, 1, 0]


def test_null_actions_keep_their_frames(tmp_path: Path) -> None:
    lines = [vpt_line(i, dx=0, dy=0) if i % 2 else vpt_line(i) for i in range(40)]
    for line in lines[1::2]:
        line["keyboard"]["keys"] = []
    vpt(tmp_path / "in", NAME, lines)
    (episode,) = imported("vpt", tmp_path / "in", tmp_path / "raw").values()
    assert episode.numbers == list(range(40))
    assert np.flatnonzero(episode.actions.any(1)).tolist() == list(range(1, 40, 2))


def test_missing_lines_leave_their_frames_with_the_null_action(tmp_path: Path) -> None:
    lines = [vpt_line(i) for i in range(40) if i not in (10, 11, 25)]
    vpt(tmp_path / "in", NAME, lines)
    (episode,) = imported("vpt", tmp_path / "in", tmp_path / "raw").values()
    assert episode.numbers == list(range(40))
    expected = -0.15 * np.arange(-1, 39)
    expected[[0, 11, 12, 26]] = 0
    assert np.allclose(episode.column("camera_pitch"), expected, atol=1e-6)
    assert np.flatnonzero(episode.column("camera_yaw") == 0).tolist() == [0, 11, 12, 26]
    assert episode.poses[[9, 10, 11, 12, 25], 0].tolist() == [9, 9, 9, 12, 24]


def test_time_stamps_neither_double_nor_drop_a_frame(tmp_path: Path) -> None:
    vpt(tmp_path / "in", NAME)
    write_numbers(tmp_path / "in" / f"{NAME}.mp4", 40, halt=5)
    (episode,) = imported("vpt", tmp_path / "in", tmp_path / "raw").values()
    assert episode.numbers == list(range(40))


def test_lines_that_no_tick_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, numbers in (("short", range(38)), ("long", range(42))):
        vpt(tmp_path / name, "a", [vpt_line(i) for i in numbers])
        assert import_set("vpt", tmp_path / name, tmp_path / "raw") == 2
        assert f"a.jsonl: holds {len(numbers)} lines, but a.mp4 40 frames" in capsys.readouterr().err


def test_missing_partners_are_named_or_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        vpt(tmp_path / "in", name)
    (tmp_path / "in" / "a.jsonl").unlink()
    (tmp_path / "in" / "b.mp4").unlink()
    assert import_set("vpt", tmp_path / "in", tmp_path / "raw") == 2
    assert "a.jsonl: is missing, it belongs to a.mp4" in capsys.readouterr().err
    found = imported("vpt", tmp_path / "in", tmp_path / "raw", "--skip-bad")
    assert set(found) == {"c-0000"}
    told = capsys.readouterr().out
    assert "a.jsonl: is missing" in told and "b.mp4: is missing, it belongs to b.jsonl" in told
    assert "imported 1 episodes from 1 recordings, 2 damaged ones left out" in told
