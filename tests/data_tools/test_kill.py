"""`kill -9` of anything at any moment: what is complete stays, the rest is made again, nothing is made twice."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_tools.cli import main
from data_tools.episode import complete_episodes
from mstv.data.schema import CAMPAIGN, MANIFEST, Manifest

COMMAND = [sys.executable, "-c", "import sys; from data_tools.cli import main; sys.exit(main())"]
RECORD = ["record", "--size", "32", "--frames", "96", "--worlds", "4"]
SHARD = ["--chunk-frames", "32", "--episodes-per-shard", "2", "--fractions", ".5,.25,.25"]


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the campaign manifest, which tells when they were made, and the lock of a killed process."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name not in (CAMPAIGN, ".lock")}


def descendants(process: int) -> list[int]:
    """All processes below one, as Linux tells them."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = [process]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def kill_something(command: list[str], rng: random.Random, longest: float, log: Path) -> str:
    """Run a command and kill it, a worker or an engine of it after a while; what was killed, or how it ended."""
    # To a file: workers that had no task yet when it was killed idle on for a while with the pipe in their hands.
    with log.open("w") as file:
        process = subprocess.Popen([*COMMAND, *command], stdout=file, stderr=subprocess.STDOUT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(rng.uniform(0.2, longest))
    below = descendants(process.pid)
    victim = rng.choice(["itself", "below"]) if below else "itself"
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid if victim == "itself" else rng.choice(below), signal.SIGKILL)
    process.wait(120)
    told = log.read_text()
    assert "data_tools/" not in "".join(line for line in told.splitlines() if line.lstrip().startswith("File "))
    # Whatever dies below it, the command itself goes on.
    assert process.returncode in (0, -signal.SIGKILL) if victim == "itself" else process.returncode == 0, told
    return f"{victim} {process.returncode}"


def check_campaign(folder: Path, record_kills: int, shard_kills: int, seed: int) -> None:
    rng = random.Random(seed)
    raw, episodes = folder / "raw", 0
    for _ in range(record_kills):
        episodes += rng.randint(1, 4)
        kill_something([*RECORD, "--episodes", str(episodes), "--out", str(raw)], rng, 5.0, folder / "log")
        assert len(complete_episodes(raw)) <= episodes
    assert main([*RECORD, "--episodes", str(episodes), "--out", str(raw)]) == 0
    assert main([*RECORD, "--episodes", str(episodes), "--out", str(folder / "whole")]) == 0
    assert len(complete_episodes(raw)) == episodes
    assert contents(raw) == contents(folder / "whole")

    shards = folder / "shards"
    for _ in range(shard_kills):
        kill_something(["shard", str(raw), str(shards), *SHARD], rng, 4.0, folder / "log")
        for path in rng.sample(sorted(shards.glob("*.tar")), len(list(shards.glob("*.tar"))) // 2):
            path.unlink()  # so that there is something to do again
    assert main(["shard", str(raw), str(shards), *SHARD]) == 0
    assert main(["shard", str(raw), str(folder / "whole-shards"), *SHARD]) == 0
    assert contents(shards) == contents(folder / "whole-shards")
    keys = [key for shard in Manifest.read(shards / MANIFEST).shards for key in shard.episodes]
    assert len(keys) == len(set(keys)) == episodes
    assert main(["verify", str(shards)]) == 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the processes to be killed are found in /proc")
def test_five_kills(tmp_path: Path) -> None:
    check_campaign(tmp_path, record_kills=3, shard_kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the processes to be killed are found in /proc")
def test_fifty_kills(tmp_path: Path) -> None:
    check_campaign(tmp_path, record_kills=30, shard_kills=20, seed=2)
