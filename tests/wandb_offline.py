"""Reads an offline W&B run back: the log's framing is LevelDB's, its records are wandb's own messages."""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

FILE_HEADER, BLOCK, CHUNK_HEADER = 7, 32768, 7


@dataclass
class OfflineRun:
    """What `wandb sync` would upload.

    Attributes:
        id: of the run.
        config: as set last, by the first part of its name.
        history: rows in order, by name.
        folder: with the files that rows name.
        axes: metrics with an axis of their own, by name.
        artifacts: names of the files of each artifact, by its type and name.
    """

    id: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    folder: Path = Path()
    axes: dict[str, str] = field(default_factory=dict)
    artifacts: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def column(self, name: str) -> dict[int, float]:
        """Values of a metric by trainer step."""
        return {row["trainer/global_step"]: row[name] for row in self.history if name in row}

    def line(self, name: str, axis: str) -> dict[float, float]:
        """Values of a metric by another one that was logged beside it."""
        return {row[axis]: row[name] for row in self.history if name in row}

    def artifacts_of_type(self, kind: str) -> dict[str, list[str]]:
        """Names of files, by the name of the artifact; tables are artifacts, too."""
        return {name: files for (its_kind, name), files in self.artifacts.items() if its_kind == kind}

    def files(self, name: str) -> list[Path]:
        """Pictures, videos or tables under a name."""
        found: list[Path] = []
        for row in self.history:
            found += [self.folder / video["path"] for video in row.get(f"{name}.videos", [])]
            found += [self.folder / picture for picture in row.get(f"{name}.filenames", [])]
            found += [self.folder / row[f"{name}.path"]] if f"{name}.path" in row else []
        return found


def read_offline_runs(run: Path) -> list[OfflineRun]:
    """All that a run directory holds, in order."""
    return [read_offline_run(path) for path in sorted(run.glob("wandb/offline-run-*/*.wandb"))]


def read_offline_run(path: Path) -> OfflineRun:
    """Run of a `run-<id>.wandb` file of a process that has ended the run."""
    run = OfflineRun(folder=path.parent / "files")
    for record in _all_records(path):
        if record.HasField("run"):
            run.id = record.run.run_id
            _update(run.config, record.run.config)
        if record.HasField("config"):
            _update(run.config, record.config)
        if record.HasField("metric") and record.metric.name:
            run.axes[record.metric.name] = record.metric.step_metric
        if record.HasField("artifact"):
            artifact = record.artifact
            run.artifacts[artifact.type, artifact.name] = [entry.path for entry in artifact.manifest.contents]
        if record.HasField("history"):
            run.history.append({_name(item): json.loads(item.value_json) for item in record.history.item})
    return run


def _all_records(path: Path) -> list[Any]:
    """All of them: wandb may write the last ones when `finish` has returned."""
    until = time.monotonic() + 30
    while True:
        records = [wandb_internal_pb2.Record.FromString(data) for data in _records(path.read_bytes())]
        if any(record.HasField("exit") for record in records) or time.monotonic() > until:
            return records
        time.sleep(0.05)


def _name(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _update(config: dict[str, Any], record: Any) -> None:
    for item in record.update:
        *path, last = [item.key] if item.key else item.nested_key
        place = config
        for name in path:
            place = place.setdefault(name, {})
        place[last] = json.loads(item.value_json)


def _records(data: bytes) -> Iterator[bytes]:
    """Records of a log: cut into chunks, each with checksum, length and type, none of which crosses a block."""
    assert data[:4] == b":W&B"
    place, parts = FILE_HEADER, b""
    while place + CHUNK_HEADER <= len(data):
        if BLOCK - place % BLOCK < CHUNK_HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + CHUNK_HEADER])
        parts += data[place + CHUNK_HEADER : place + CHUNK_HEADER + length]
        place += CHUNK_HEADER + length
        # 1 is a whole record, 2 to 4 are a first, middle and last part.
        if kind in (1, 4):
            yield parts
            parts = b""
