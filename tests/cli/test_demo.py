"""The stages of `mstv demo`, from each source of episodes."""

import argparse
from itertools import islice
from pathlib import Path

import pytest

from mstv.cli.demo import add_arguments, stages
from mstv.cli.main import main
from mstv.data.schema import CAMPAIGN, RECORD, Episode, Source


def arguments(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(list(options))


def episodes(folder: Path, worlds: list[str]) -> None:
    for number, world in enumerate(worlds):
        source = Source(engine="test", world=world)
        Episode(key=f"walk-{number}", fps=20, num_frames=512, height=64, width=64, source=source).write(
            folder / f"walk-{number}.{RECORD}"
        )
    (folder / CAMPAIGN).write_text("{}")


@pytest.mark.parametrize(
    ("options", "first"),
    [([], "record"), (["--videos", "clips"], "import"), (["--raw", "{raw}"], "shard")],
)
def test_where_the_episodes_come_from(options: list[str], first: str, tmp_path: Path) -> None:
    episodes(tmp_path, ["a", "b", "c"])
    options = [option.format(raw=tmp_path) for option in options]
    stage = next(iter(stages(arguments("--out", str(tmp_path / "demo"), *options))))
    assert stage.arguments[0] == first
    assert (str(tmp_path) in stage.arguments) == (first == "shard")


@pytest.mark.parametrize(("count", "named"), [(3, True), (47, True), (48, False)])
def test_few_worlds_are_split_by_name(count: int, named: bool, tmp_path: Path) -> None:
    worlds = [f"world-{number:02d}" for number in range(count)]
    episodes(tmp_path, worlds)
    (shard,) = islice(stages(arguments("--raw", str(tmp_path))), 1)
    assert ("--test-worlds" in shard.arguments) == named
    if named:
        assert shard.arguments[-1] == worlds[-1] and shard.arguments[-3] == worlds[-2]


def test_too_few_worlds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    episodes(tmp_path, ["a", "a", "b"])
    assert main(["demo", "--raw", str(tmp_path), "--out", str(tmp_path / "demo")]) == 2
    assert f"{tmp_path}: holds episodes of 2 worlds" in capsys.readouterr().err


def test_no_such_folder_of_episodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--raw", str(tmp_path / "nosuch"), "--out", str(tmp_path / "demo")]) == 2
    assert f"{tmp_path / 'nosuch'}: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_a_folder_without_videos_leaves_nothing_behind(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clips").mkdir()
    assert main(["demo", "--videos", str(tmp_path / "clips"), "--out", str(tmp_path / "demo")]) == 2
    assert f"{tmp_path / 'clips'}: holds no video" in capfd.readouterr().err
    assert not (tmp_path / "demo").exists()
