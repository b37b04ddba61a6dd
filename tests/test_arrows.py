"""Imports run one way: levels <- rollout <- data, diffusion; levels <- transformer <- tokenizer, diffusion; ..."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEAVES = {"errors", "levels", "keyed_random", "optimiser", "checkpoint", "progress", "token_cells", "device_peak"}
ALLOWED = {
    "errors": set(),
    "levels": {"errors"},
    "keyed_random": set(),
    "sharding": set(),
    "muon": {"sharding"},
    "optimiser": {"errors", "muon"},
    "progress": set(),
    "device_peak": set(),
    "device_memory": set(),
    "inverse_dynamics": LEAVES,
    "memory": {"errors"},
    "token_cells": set(),
    "termination": set(),
    "divergence": {"errors", "data.schema"},
    "trained_module": {"checkpoint", "divergence", "errors", "optimiser", "sharding"},
    "checkpoint": {"errors"},
    "published": {"errors", "transformer"},
    "transformer": LEAVES,
    "rollout": LEAVES,
    "metrics": set(),
    "data": LEAVES | {"rollout", "__init__"},
    "tokenizer": LEAVES | {"transformer"},
    "diffusion": LEAVES | {"transformer", "rollout"},
    "compare": {"errors", "data.results", "data.schema", "data.video", "__init__"},
    "evaluation": LEAVES | {"data", "metrics", "rollout", "tokenizer.tokenizer", "inverse_dynamics"},
    "tracking": {"errors", "data.results", "data.schema", "compare"},
    "callbacks": LEAVES
    | {"sharding", "rollout", "data", "metrics", "evaluation", "tokenizer.module", "tokenizer.tokenizer"}
    | {"diffusion.sample_step", "tracking"},
}
COMBINING = {"tokenizer/module.py", "diffusion/module.py", "inverse_dynamics/module.py"}


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT / "mstv")
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def files() -> list[Path]:
    return [path for path in sorted((ROOT / "mstv").rglob("*.py")) if part_of(path) not in ("cli", "__init__")]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    part = part_of(path)
    allowed = ALLOWED[part] | {part}
    if str(path.relative_to(ROOT / "mstv")) in COMBINING:
        allowed |= {"data", "rollout", "metrics", "trained_module", "sharding"}
    for name in imports(path):
        if name == "data_tools" or name.startswith("data_tools."):
            pytest.fail(f"{path} imports {name}: nothing imports data_tools")
        if name.startswith("mstv."):
            ours = name.removeprefix("mstv.")
            assert any(ours == prefix or ours.startswith(f"{prefix}.") for prefix in allowed), f"{path} imports {name}"


def test_data_tools_import_only_schema_and_shards() -> None:
    parts = ("schema", "shards", "video", "temporary_files", "revisits")
    allowed = (*(f"mstv.data.{part}" for part in parts), "mstv.errors", "mstv.levels", "mstv.termination")
    for path in (ROOT / "data_tools").rglob("*.py"):
        for name in imports(path):
            if name.startswith("mstv."):
                assert name.startswith(allowed) or name == "mstv.data", f"{path} imports {name}"


@pytest.mark.parametrize("module", ["mstv.cli.main", "data_tools.cli"])
def test_help_answers_without_torch(module: str) -> None:
    code = (
        f"import sys; from {module} import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'numba', 'lightning'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "usage" in result.stdout
