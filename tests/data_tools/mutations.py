"""Random damage to the files of a data set, by kind of file."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mstv.data.schema import MANIFEST, Manifest, file_sha256

Random = np.random.Generator

WEIRD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    10**6,
    10**12,
    10**30,
    -(10**30),
    1e308,
    float("nan"),
    float("inf"),
    "",
    "text",
    "../../escaped",
    "/escaped",
    "a\x00b",
    "\ud800",
    "x" * 5000,
    [],
    {},
    [[]],
    {"a": [1, {"b": None}]},
    list(range(200)),
)
"""Values that no field expects."""


def pick(rng: Random, things: Any) -> Any:
    """One of a sequence."""
    return things[int(rng.integers(len(things)))]


def damage_bytes(data: bytes, rng: Random) -> bytes:
    """Cut, emptied, with changed bytes, or with other bytes behind."""
    kind = int(rng.integers(6))
    if kind == 0:
        return data[: int(rng.integers(len(data) + 1))]
    if kind == 1:
        return b""
    if kind == 2:
        return data + rng.bytes(100)
    if kind == 3:
        return rng.bytes(200)
    changed = bytearray(data)
    # Headers are at the front and, in mp4, at the end.
    for _ in range(int(rng.integers(1, 20))):
        near = int(rng.integers(len(changed))) if rng.random() < 0.5 else int(rng.integers(min(200, len(changed))))
        if changed:
            changed[near if rng.random() < 0.7 else -near - 1] = int(rng.integers(256))
    return bytes(changed)


def damage_value(value: Any, rng: Random, depth: int = 0) -> Any:
    """A JSON value with one thing changed somewhere inside."""
    if isinstance(value, dict) and value and (depth == 0 or rng.random() < 0.8):
        value = dict(value)
        key = pick(rng, sorted(value))
        kind = rng.random()
        if kind < 0.1:
            del value[key]
        elif kind < 0.15:
            value["unknown"] = pick(rng, WEIRD)
        elif kind < 0.2:
            value[pick(rng, ("../../escaped", "", "\ud800"))] = value.pop(key)
        else:
            value[key] = damage_value(value[key], rng, depth + 1)
        return value
    if isinstance(value, list) and value and rng.random() < 0.8:
        value = list(value)
        place = int(rng.integers(len(value)))
        if rng.random() < 0.15:
            del value[place]
        elif rng.random() < 0.15:
            value.append(value[place])
        else:
            value[place] = damage_value(value[place], rng, depth + 1)
        return value
    return pick(rng, WEIRD)


def damage_json(data: bytes, rng: Random) -> bytes:
    """JSON, or JSON line by line, with a wrong value, a broken text or bytes that are no UTF-8."""
    kind = rng.random()
    if kind < 0.1:
        return damage_bytes(data, rng)
    if kind < 0.15:
        return b"\xff\xfe" + data
    if kind < 0.2:
        return pick(rng, (b"[" * 100000, b"null", b"9" * 10000, b'{"schema_version": 1}'))
    lines = data.split(b"\n") if data.count(b"\n{") else [data]
    place = int(rng.integers(len(lines)))
    try:
        lines[place] = json.dumps(damage_value(json.loads(lines[place]), rng)).encode()
    except ValueError:  # the empty line at the end
        lines[place] = b'{"broken": '
    return b"\n".join(lines)


def damage_array(array: np.ndarray, rng: Random) -> np.ndarray:
    """Another type, shape or value."""
    kind = int(rng.integers(10))
    if kind == 0:
        return array.astype(np.float64)
    if kind == 1:
        return array[: len(array) // 2] if array.ndim else array
    if kind == 2:
        return np.concatenate([array, array]) if array.ndim else array
    if kind == 3:
        return array[None]
    if kind == 4:
        return np.asarray(pick(rng, (0, 3.5)), array.dtype if array.dtype.kind in "iuf" else np.float32)
    if kind == 5:
        return np.zeros(0, np.float32)
    if kind == 6:
        return array.astype("U8")
    if kind == 7:
        return array.astype(complex)
    changed = array.copy()
    if changed.size and changed.dtype.kind in "iuf":
        values = (np.nan, np.inf, 1e30, -7) if changed.dtype.kind == "f" else (120, 99, 5)
        changed.reshape(-1)[int(rng.integers(changed.size))] = pick(rng, values)
    return changed


def damage_npy(data: bytes, rng: Random) -> bytes:
    """An npy file with another array, a pickle, or a header that lies."""
    kind = rng.random()
    buffer = io.BytesIO()
    if kind < 0.15:
        return damage_bytes(data, rng)
    if kind < 0.25:
        np.save(buffer, np.array([{"a": 1}, None], object), allow_pickle=True)
        return buffer.getvalue()
    if kind < 0.4:
        shape = pick(rng, ((10**12,), (10**18, 10**18), (-5,), (10**10, 5), ()))
        header = {"descr": pick(rng, ("<i2", "<f4", "|O", "<f8")), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(buffer, header)
        return buffer.getvalue() + rng.bytes(50)
    np.save(buffer, damage_array(np.load(io.BytesIO(data), allow_pickle=False), rng))
    return buffer.getvalue()


def damage_npz(data: bytes, rng: Random) -> bytes:
    """An npz file with a member changed, renamed or gone."""
    if rng.random() < 0.2:
        return damage_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = pick(rng, sorted(members))
    kind = rng.random()
    if kind < 0.15:
        del members[name]
    elif kind < 0.25:
        members["../../escaped.npy"] = members.pop(name)
    else:
        members[name] = damage_npy(members[name], rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return buffer.getvalue()


def damage_csv(data: bytes, rng: Random) -> bytes:
    """A table with a cell, a line or the encoding changed."""
    if rng.random() < 0.3:
        return damage_bytes(data, rng)
    lines = data.decode().split("\n")
    place = int(rng.integers(len(lines)))
    cells = lines[place].split(",")
    cells[int(rng.integers(len(cells)))] = pick(
        rng, ("", "nan", "../../escaped", "1e999", "-3", '"', "\x00", "9" * 5000)
    )
    lines[place] = ",".join(cells)
    return "\n".join(lines).encode()


def damage_tar(data: bytes, rng: Random) -> bytes:
    """A tar with a member changed, gone, twice, misnamed or no plain file."""
    if rng.random() < 0.2:
        return damage_bytes(data, rng)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = [(header.name, tar.extractfile(header).read()) for header in tar]  # type: ignore[union-attr]
    place = int(rng.integers(len(members)))
    name, content = members[place]
    kind = rng.random()
    odd = None
    if kind < 0.1:
        del members[place]
    elif kind < 0.15:
        members.append(members[place])
    elif kind < 0.3:
        names = ("../../escaped", "/escaped.json", "a/../../escaped.mp4", "noextension", ".hidden", "x" * 300 + ".json")
        members[place] = pick(rng, names), content
    elif kind < 0.4:
        odd = pick(rng, (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE))
    elif kind < 0.5:
        other = int(rng.integers(len(members)))
        members[place], members[other] = (name, members[other][1]), (members[other][0], content)
    else:
        members[place] = name, damage_by_name(name)(content, rng)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for number, (name, content) in enumerate(members):
            header = tarfile.TarInfo(name)
            if odd is not None and number == place:
                header.type, header.linkname = odd, "/etc/hostname"
                tar.addfile(header)
            else:
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def damage_by_name(name: str) -> Callable[[bytes, Random], bytes]:
    """How to damage a file of such a name."""
    kinds = {
        ".json": damage_json,
        ".jsonl": damage_json,
        ".npy": damage_npy,
        ".npz": damage_npz,
        ".csv": damage_csv,
        ".tar": damage_tar,
    }
    return kinds.get(Path(name).suffix, damage_bytes)


def damage_folder(folder: Path, rng: Random) -> set[Path]:
    """Damage one file below `folder`; return the paths that changed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = pick(rng, files)
    kind = rng.random()
    if kind < 0.08:
        path.unlink()
        return {path}
    if kind < 0.12:
        path.unlink()
        path.mkdir()
        return {path}
    if kind < 0.16:
        path.unlink()
        path.symlink_to("absent")
        return {path}
    if kind < 0.24:
        others = [other for other in files if other.suffix == path.suffix and other != path]
        if others:
            other = pick(rng, others)
            one, two = path.read_bytes(), other.read_bytes()
            path.write_bytes(two)
            other.write_bytes(one)
            return {path, other}
    path.write_bytes(damage_by_name(path.name)(path.read_bytes(), rng))
    if path.suffix == ".tar" and rng.random() < 0.7:
        _agree(path)
    return {path}


def _agree(tar: Path) -> None:
    """Make the manifest agree with the bytes of a tar, so that only a close look finds the damage."""
    manifest = Manifest.read(tar.parent / MANIFEST)
    update = {"num_bytes": tar.stat().st_size, "sha256": file_sha256(tar)}
    shards = tuple(shard.model_copy(update=update) if shard.name == tar.name else shard for shard in manifest.shards)
    manifest.model_copy(update={"shards": shards}).write(tar.parent / MANIFEST)
