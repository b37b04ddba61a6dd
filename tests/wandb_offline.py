"""Reads an offline W&B run back: the log's framing is LevelDB's, its records are wandb's own messages."""

import json
import struct
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
    """

    id: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    folder: Path = Path()

    def column(self, name: str) -> dict[int, float]:
        """Values of a metric by trainer step."""
        return {row["trainer/global_step"]: row[name] for row in self.history if name in row}


def read_offline_run(path: Path) -> OfflineRun:
    """Run of a `run-<id>.wandb` file."""
    run = OfflineRun(folder=path.parent / "files")
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.HasField("run"):
            run.id = record.run.run_id
            _update(run.config, record.run.config)
        if record.HasField("config"):
            _update(run.config, record.config)
        if record.HasField("history"):
            run.history.append({_name(item): json.loads(item.value_json) for item in record.history.item})
    return run


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
