"""Rows of a results.json that were trained elsewhere, in a table with those of this folder."""

import json
from pathlib import Path
from typing import Any

from experiments.loopwalk.results import BOUNDS
from experiments.loopwalk.rows import ROWS
from mstv.errors import UserError

_Who = tuple[str, str | None, int | None]
_BY_ROW = ("rows", "revisits", "look_back", "returns", "losses")
_TRAINED: list[_Who] = [(row.plan, row.attention, row.seed) for row in ROWS]
_ORDER: list[_Who] = [*((bound, None, None) for bound in BOUNDS), *_TRAINED]


def with_kept(found: dict[str, Any], path: Path) -> dict[str, Any]:
    """What `results` found, and of another results.json what it lacks, in the order of the table.

    Differences of two plans need every frame's value, which the file does not have: they are those that were computed
    where the rows are, and those of the file only as far as all their rows are the file's.

    Args:
        found: of `results`.
        path: the other results.json.

    Raises:
        UserError: the file is none, or of another protocol, set of frames or tokenizer.
    """
    kept = _read(path, found)
    if changed := [name for name, value in found["protocol"].items() if kept["protocol"].get(name) != value]:
        raise UserError(f"{path}: has another {changed[0]} (field protocol), so its rows do not belong in this table")
    own = {who for name in _BY_ROW for who in map(_who, found[name]) if who[0] not in BOUNDS}
    merged = {"protocol": found["protocol"]}
    for name, rows in found.items():
        if name in _BY_ROW:
            there = own | set(map(_who, rows))  # a row is of one training, also where it lacks a look back
            more = [row for row in kept[name] if _who(row) not in there]
            merged[name] = sorted([*rows, *more], key=lambda row: _ORDER.index(_who(row)))
        elif name == "differences":
            pairs = {_pair(row) for row in rows}
            more = [row for row in kept[name] if _pair(row) not in pairs and own.isdisjoint(_rows_of(row))]
            plans = [who[0] for who in _ORDER]
            merged[name] = sorted([*rows, *more], key=lambda row: [plans.index(plan) for plan in _pair(row)])
    return merged


def _who(row: dict[str, Any]) -> _Who:
    return row["plan"], row["attention"], row["seed"]


def _pair(row: dict[str, Any]) -> tuple[str, str]:
    return row["plan"], row["minus"]


def _rows_of(difference: dict[str, Any]) -> set[_Who]:
    return {(plan, "isolated", seed) for plan in _pair(difference) for seed in difference["seeds"]}


def _read(path: Path, like: dict[str, Any]) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_bytes())
        known = all(_who(row) in _ORDER for name in _BY_ROW for row in kept[name])
        known = known and all(_rows_of(row) <= set(_ORDER) for row in kept["differences"])
        if not known or kept.keys() != like.keys() or not isinstance(kept["protocol"], dict):
            raise ValueError("fields or rows are not those of this version")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: no results.json of experiments.loopwalk.table ({error})") from None
    return kept
