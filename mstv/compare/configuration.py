"""What runs were trained with: their `config.yaml` and `run.json` beside each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mstv.compare.cards import CardRow
from mstv.compare.comparison import Comparison
from mstv.data.results import Run
from mstv.errors import UserError

OWN = {"run"}
"""Settings that differ between any two runs, and say nothing."""


@dataclass(frozen=True)
class Configurations:
    """Settings of several runs, as `trainer.max_steps`."""

    different: tuple[CardRow, ...]
    equal: tuple[CardRow, ...]
    missing: tuple[str, ...]
    """Labels of runs without both files: their cells are dashes, and make no difference."""


def configurations(comparison: Comparison) -> Configurations:
    """Read the runs' settings.

    Raises:
        UserError: a `config.yaml` is not YAML of settings, or a `run.json` is damaged.
    """
    settings = [_known(entry.run) for entry in comparison.entries]
    known = [own for own in settings if own is not None]
    different, equal = [], []
    for name in dict.fromkeys(name for own in known for name in own if name not in OWN):
        if len({own.get(name) for own in known}) > 1:
            different.append(CardRow(name, tuple(own.get(name, "–") if own else "–" for own in settings)))
        else:
            equal.append(CardRow(name, (known[0][name],)))
    missing = [entry.label for entry, own in zip(comparison.entries, settings, strict=True) if own is None]
    return Configurations(tuple(different), tuple(equal), tuple(missing))


def _known(run: Run) -> dict[str, str] | None:
    settings, record = read_settings(run.config), run.training_record()
    if record is None:
        return settings
    last = record.starts[-1]
    return {
        "parameters": f"{record.parameters['total']:,}",
        "trained on": f"{last.device}, {last.ranks} process{'es' * (last.ranks > 1)}, {last.precision}",
        "code": f"{last.git.commit[:12]}{', changed' * last.git.dirty}" if last.git else "not from a repository",
        "times started": str(len(record.starts)),
        **(settings or {}),
    }


def read_settings(path: Path) -> dict[str, str] | None:
    """Settings of a `config.yaml` by dotted name; None if there is no file.

    Raises:
        UserError: it is not YAML of settings.
    """
    if not path.is_file():
        return None
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}" if place else type(error).__name__
        raise UserError(f"{path}: cannot be read as YAML ({where}): mend it or move it away") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path}: holds no settings: it is foreign or damaged, move it away")
    return dict(_flat(tree, ()))


def _flat(tree: Any, name: tuple[str, ...]) -> list[tuple[str, str]]:
    """Leaves with their names; a list of plain values is one leaf."""
    if isinstance(tree, dict) and tree:
        parts = list(tree.items())
    elif isinstance(tree, list) and any(isinstance(value, dict | list) for value in tree):
        parts = list(enumerate(tree))
    else:
        return [(".".join(name), str(tree))]
    return [leaf for key, value in parts for leaf in _flat(value, (*name, str(key)))]
