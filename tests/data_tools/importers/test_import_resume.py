"""Imports with actions, interrupted, repeated and in parallel."""

from pathlib import Path

import pytest

from data_tools.importers import importing
from mstv.errors import UserError
from tests.data_tools.importers.foreign_sets import episodes, import_set, teco, vpt

SMALL = ("--segment-frames", "16", "--min-frames", "2")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        vpt(tmp_path / "in", name)
    return tmp_path / "in"


def test_an_interrupted_import_resumes_to_the_same_bytes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_set("vpt", source, tmp_path / "whole", *SMALL) == 0
    original, calls = importing.EpisodeWriter.add, 0

    def interrupted(self, *row):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == 40 + 36:  # in the third segment of b
            raise KeyboardInterrupt
        original(self, *row)

    with monkeypatch.context() as patch:
        patch.setattr(importing.EpisodeWriter, "add", interrupted)
        assert import_set("vpt", source, tmp_path / "raw", *SMALL) == 130
    assert sorted(path.stem for path in (tmp_path / "raw").glob("*.json")) == ["a-0000", "a-0001", "a-0002", "b-0001"]
    assert import_set("vpt", source, tmp_path / "raw", *SMALL) == 0
    assert "imported 5 episodes (4 were there already) from 3 recordings" in capsys.readouterr().out
    assert contents(tmp_path / "raw") == contents(tmp_path / "whole")


def test_workers_do_not_change_the_result(source: Path, tmp_path: Path) -> None:
    assert import_set("vpt", source, tmp_path / "one", *SMALL) == 0
    assert import_set("vpt", source, tmp_path / "two", *SMALL, "--workers", "2") == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_growing_download_is_imported_bit_by_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teco(tmp_path / "in", "train/1/000000")
    whole = teco(tmp_path / "in", "train/1/000001").read_bytes()
    video = tmp_path / "in" / "train" / "1" / "000001.mp4"
    video.write_bytes(whole[: len(whole) // 2])
    assert import_set("teco", tmp_path / "in", tmp_path / "raw", "--skip-bad") == 0
    assert "1 damaged ones left out" in capsys.readouterr().out
    video.write_bytes(whole)
    teco(tmp_path / "in", "train/1/000002")
    assert import_set("teco", tmp_path / "in", tmp_path / "raw") == 0
    assert "imported 2 episodes (1 were there already) from 3 recordings" in capsys.readouterr().out
    assert len(episodes(tmp_path / "raw")) == 3


def test_changed_arrays_are_noticed(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_set("vpt", source, tmp_path / "raw") == 0
    with (source / "a.jsonl").open("a") as file:
        file.write("\n")
    assert import_set("vpt", source, tmp_path / "raw") == 2
    assert "a-0000.json: field source.settings.file_bytes is" in capsys.readouterr().err


def test_a_recording_that_is_damaged_later_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments of an interrupted import go with their recording."""
    original, calls = importing.EpisodeWriter.add, 0

    def interrupted(self, *row):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == 36:
            raise KeyboardInterrupt
        original(self, *row)

    with monkeypatch.context() as patch:
        patch.setattr(importing.EpisodeWriter, "add", interrupted)
        assert import_set("vpt", source, tmp_path / "raw", *SMALL) == 130
    assert (tmp_path / "raw" / "a-0001.json").exists()
    text = (source / "a.jsonl").read_text()
    (source / "a.jsonl").write_text(text.replace('"hotbar"', '"h0tbar"', 1))  # of the same size
    assert import_set("vpt", source, tmp_path / "raw", *SMALL, "--skip-bad") == 0
    assert not list((tmp_path / "raw").glob("a-*"))
    assert len(list((tmp_path / "raw").glob("*.json"))) == 6


def test_a_full_disk_is_no_damage(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends the import, --skip-bad or not, and what was written before stays."""
    assert import_set("vpt", source, tmp_path / "raw", *SMALL) == 0
    (tmp_path / "raw" / "b-0000.json").unlink()
    before = contents(tmp_path / "raw")

    def full(self):  # type: ignore[no-untyped-def]
        raise UserError("b-0000.mp4: cannot be written (No space left on device): choose another output folder")

    monkeypatch.setattr(importing.EpisodeWriter, "__enter__", full)
    assert import_set("vpt", source, tmp_path / "raw", *SMALL, "--skip-bad") == 2
    assert "No space left" in capsys.readouterr().err
    assert contents(tmp_path / "raw") == before
