"""Damaged and hostile inputs through the real commands: exit code 0 or 2, one line that names the file, no debris."""

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from data_tools.cli import main
from data_tools.composition import Splitting
from data_tools.sharding import UNFINISHED, Sharding, make_shards
from data_tools.verify import verify
from mstv.data.schema import GOP_FRAMES, MANIFEST, read_manifest
from mstv.data.shards import read_episode_frames
from mstv.data.video import encode_video
from mstv.errors import UserError
from tests.data_tools.conftest import moving_frames, tiny_episode
from tests.data_tools.importers import foreign_sets
from tests.data_tools.latent_set import tiny_latents
from tests.data_tools.mutations import damage_folder

QUICK, ALL = 40, 300
SECONDS = 120
"""After which a case hangs."""

RECORDINGS = {
    "minerl": ("Env-v0/v3_a_b-1_0-9", "Env-v0/v3_c_d-1_0-9"),
    "vpt": ("a-1-20210720-165349", "b-1-20210720-165349"),
    "loopcraft": ("008/071", "009/072"),
    "gamefactory": ("seed_1_part_1", "seed_2_part_1"),
    "loopnav": ("ABA/p/5/1", "ABA/q/5/2"),
    "worldmem": ("training/1/000000", "training/2/000001"),
    "teco": ("train/1/000000", "train/2/000001"),
}
"""Two recordings of each foreign format."""

Command = Callable[[Path, Path], list[str]]


class Hang(BaseException):
    """A case took too long; nothing that is fuzzed may catch it."""


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for each kind of input, to be copied by each case."""
    root = tmp_path_factory.mktemp("fuzz")
    for number, (world, num_frames) in enumerate([("a", 16), ("b", 20), ("d", 9)]):
        tiny_episode(root / "raw", f"walk-{number}", world, num_frames, seed=number)
    worlds = {"train": ("a", "b"), "test": ("d",)}
    make_shards(root / "raw", root / "shards", Sharding(GOP_FRAMES, 1, splitting=Splitting(worlds=worlds)), workers=1)
    tiny_latents(root / "shards", root / "latents")
    (root / "videos" / "below").mkdir(parents=True)
    encode_video(moving_frames(20, 1), root / "videos" / "one.mp4", 20.0)
    encode_video(moving_frames(12, 2), root / "videos" / "below" / "two.mp4", 20.0)
    for form, names in RECORDINGS.items():
        for name in names:
            getattr(foreign_sets, form)(root / form, name)
    return root


def _import(name: str) -> Command:
    options = ["--size", "16x24", "--workers", "1", "--segment-frames", "16", "--min-frames", "2"]
    return lambda source, out: ["import", name, str(source), str(out), *options]


COMMANDS: dict[str, tuple[str, Command]] = {
    "verify-raw": ("raw", lambda source, out: ["verify", str(source), "--workers", "1"]),
    "verify-shards": ("shards", lambda source, out: ["verify", str(source), "--workers", "1"]),
    "verify-latents": ("latents", lambda source, out: ["verify", str(source), "--workers", "1"]),
    "shard": ("raw", lambda source, out: ["shard", str(source), str(out), "--workers", "1", "--chunk-frames", "8"]),
    **{name: (name, _import(name)) for name in ("videos", *RECORDINGS)},
}
"""What is fuzzed: the folder that is damaged, and the command that reads it."""


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def check_output(out: Path, code: int) -> None:
    """Nothing in the output is half-written, whether the command ended well or not."""
    if not out.exists():
        return
    names = {path.name for path in out.rglob("*")}
    assert not {name for name in names if name.endswith((".tmp", ".lock", ".partial"))}, names
    if code == 0:
        assert UNFINISHED not in names
    records = {name for name in names if name.endswith(".json") and not name.startswith(".")}
    if not records:
        return
    assert (MANIFEST not in records) or code == 0
    found = verify(out, workers=1)
    # A damaged file may say another frame rate, which is no harm to the episode.
    assert not [problem for problem in found.problems if "put them in folders of their own" not in problem]
    assert not [warning for warning in found.warnings if "has no record" in warning]


def is_named(told: str, changed: set[Path], source: Path) -> bool:
    """Whether an error names a file that was changed, or another file of the same recording, or the set's manifest."""
    stems = {re.split(r"\.", path.name)[0] for path in changed} | {"manifest"}
    stems |= {path.parent.name for path in changed if path.parent != source}
    return str(source) in told and any(stem in told for stem in stems)


def run_case(name: str, seed: int, sets: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng([seed, sorted(COMMANDS).index(name)])
    kind, command = COMMANDS[name]
    source, out = folder / "in" / kind, folder / "out"
    shutil.copytree(sets / kind, source)
    changed = damage_folder(source, rng)
    before = tree(folder)
    arguments = command(source, out)
    if arguments[0] == "import" and rng.random() < 0.5:
        arguments.append("--skip-bad")
    capsys.readouterr()
    with limited(SECONDS):
        code = main(arguments)
        captured = capsys.readouterr()
        told = captured.out + captured.err
        assert code in (0, 2), told
        assert "Traceback" not in told
        if code == 2:
            assert is_named(told, changed, source), told
        outside = {path for path in tree(folder) - before if path != "out" and not path.startswith("out" + os.sep)}
        assert not outside, outside
        check_output(out, code)


def read_case(seed: int, sets: Path, folder: Path) -> None:
    """The readers of frame shards on a damaged set."""
    rng = np.random.default_rng([seed, 99])
    source = folder / "in" / "shards"
    shutil.copytree(sets / "shards", source)
    damage_folder(source, rng)
    with limited(SECONDS), contextlib.suppress(UserError):
        manifest = read_manifest(source, "frames")
        for shard in manifest.shards:
            for key in shard.episodes:
                try:
                    frames, _, poses, _ = read_episode_frames(source, manifest, key)
                    assert len(frames) == shard.episodes[key] and (poses is None or len(poses) == len(frames))
                except UserError as error:
                    assert shard.name in str(error) or key in str(error)


@pytest.mark.parametrize("case", range(QUICK))
def test_some_damage(case: int, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [*sorted(COMMANDS), "read"]
    name = names[case % len(names)]
    if name == "read":
        read_case(case, sets, tmp_path)
    else:
        run_case(name, case, sets, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*sorted(COMMANDS), "read"])
def test_much_damage(name: str, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for case in range(1000, 1000 + ALL // (len(COMMANDS) + 1)):
        folder = tmp_path / str(case)
        try:
            if name == "read":
                read_case(case, sets, folder)
            else:
                run_case(name, case, sets, folder, capsys)
        except BaseException as error:
            error.add_note(f"{name}, case {case}")
            raise
        shutil.rmtree(folder)
