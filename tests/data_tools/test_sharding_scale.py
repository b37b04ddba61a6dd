"""`mstv-data shard` at scale: time grows with the episodes, memory does not."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_tools import sharding
from data_tools.composition import Splitting, check_alike, compose
from data_tools.episode import RawEpisodes
from data_tools.episode_writer import write_episode
from data_tools.sharding import Sharding, make_shards
from mstv.data.schema import Episode, Manifest, Shard, Source


def many_episodes(folder: Path, count: int) -> Path:
    """Records of episodes of as many worlds; nothing reads their videos."""
    folder.mkdir()
    for number in range(count):
        key = f"walk-{number:06d}"
        source = Source(engine="test", world=f"world-{number}")
        record = Episode(key=key, fps=20, num_frames=64, height=4, width=4, source=source)
        (folder / f"{key}.json").write_bytes(record.to_bytes())
        (folder / f"{key}.mp4").write_bytes(b"video")
    return folder


def test_ten_thousand_episodes_are_composed_quickly(tmp_path: Path) -> None:
    raw = RawEpisodes(many_episodes(tmp_path / "raw", 10_000))
    named = Splitting(worlds={"test": tuple(f"world-{number}" for number in range(0, 10_000, 2))})
    check_alike(raw)
    for splitting in (Splitting(), named):
        began = time.process_time()
        tars = compose(raw, splitting, 50, 1)
        assert time.process_time() - began < 2
        assert 200 <= len(tars) <= 203
        assert sorted(key for keys in tars.values() for key in keys) == list(raw.records)


def test_bookkeeping_takes_a_small_share_of_many_tars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tars of one episode each, and no work but the bookkeeping."""
    raw = many_episodes(tmp_path / "raw", 2_000)
    written: list[int] = []
    write = Manifest.write

    def counting(self: Manifest, path: Path) -> None:
        written.append(len(self.shards))
        write(self, path)

    monkeypatch.setattr(Manifest, "write", counting)

    def stand_in(raw: RawEpisodes, path: Path, _: int) -> Shard:
        path.write_bytes(b"tar")
        episodes = {key: record.num_frames for key, record in raw.records.items()}
        return Shard(
            name=path.name, num_samples=1, num_frames=64, num_bytes=3, sha256="0", episodes=episodes, worlds=()
        )

    monkeypatch.setattr(sharding, "write_frame_shard", stand_in)
    manifest, count = make_shards(raw, tmp_path / "shards", Sharding(episodes_per_shard=1), workers=1)
    assert count == len(manifest.shards) == 2_000
    # Written after every tar, they would name two million.
    assert sum(written) < 200_000 and written[-1] == 2_000


def test_finished_tars_are_noted_when_another_fails(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, settings = tmp_path / "shards", Sharding(chunk_frames=16, episodes_per_shard=1)
    write = sharding.write_frame_shard
    made: list[str] = []

    def failing(raw: RawEpisodes, path: Path, chunk_frames: int) -> Shard:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(path.name)
        return write(raw, path, chunk_frames)

    monkeypatch.setattr(sharding, "write_frame_shard", failing)
    with pytest.raises(KeyboardInterrupt):
        make_shards(raw, out, settings, workers=1)
    monkeypatch.setattr(sharding, "write_frame_shard", write)
    assert make_shards(raw, out, settings, workers=1)[1] == 2


def peak_mib(raw: Path, out: Path) -> float:
    """Highest resident memory of `mstv-data shard` in a process of its own."""
    code = (
        "import re, sys; from data_tools.cli import main; assert main(sys.argv[1:]) == 0;"
        "print('peak', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    command = [sys.executable, "-c", code, "shard", str(raw), str(out), "--workers", "1"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(found.stdout.rpartition("peak ")[2]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_episodes(tmp_path: Path) -> None:
    one, forty = tmp_path / "one", tmp_path / "forty"
    noise = np.random.default_rng(0).integers(0, 256, (128, 192, 192, 3), np.uint8)  # so that its video is large
    write_episode(one, "walk-00", noise, fps=20, source=Source(engine="test", world="a"))
    shutil.copytree(one, forty)
    record = Episode.read(one / "walk-00.json")
    for number in range(1, 40):
        key = f"walk-{number:02d}"
        for path in one.glob("walk-00.*"):
            (forty / path.name.replace("walk-00", key)).hardlink_to(path)
        (forty / f"{key}.json").unlink()
        record.model_copy(update={"key": key}).write(forty / f"{key}.json")
    mib = (one / "walk-00.mp4").stat().st_size / 2**20
    few, many = peak_mib(one, tmp_path / "shards-1"), peak_mib(forty, tmp_path / "shards-40")
    print(f"an episode of {mib:.1f} MiB: peak {few:.0f} MiB; forty: {many:.0f} MiB")
    assert mib > 1 and many < few + 5 * mib
