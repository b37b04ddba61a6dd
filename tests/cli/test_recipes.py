"""Every recipe, and every layer on its recipe, takes a step through the real command that its header gives."""

import csv
import json
import math
import re
import shlex
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from mstv.cli.experiment import Experiment, read_layers
from mstv.cli.main import main
from mstv.levels import Levels
from tests.cli import recipe_sets
from tests.cli.conftest import EXPERIMENTS

FOLDERS = ("", "one_gpu", "published", "plans", "ablations")
RECIPES = sorted(path for folder in FOLDERS for path in (EXPERIMENTS / folder).glob("*.yaml"))
# Sizes of data and of the machine that tests do not have.
OVERRIDES = [
    *["--data.batch_size", "1", "--data.num_workers", "0", "--trainer.devices", "1", "--wandb", "false"],
    *["--trainer.max_steps", "1", "--trainer.log_every_n_steps", "1"],
]
# One block instead of twelve, and on CPUs without bf16 units it takes minutes; one_gpu keeps its precision.
SHALLOW = {
    "diffusion": ["--model.size.depth", "1"],
    "tokenizer": ["--model.encoder.depth", "1", "--model.decoder.depth", "1"],
    "inverse_dynamics": [],
}


def header(path: Path) -> str:
    """The comment that a recipe opens with."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return "\n".join(lines)


def command(path: Path) -> list[str]:
    """Arguments of `mstv` in a recipe's header, which stand for a shell in the root of the repository."""
    found = re.search(r"^Command:\s+mstv (.*)$", header(path).replace("\\\n", ""), re.MULTILINE)
    assert found, f"{path}: its header gives no command"
    root = EXPERIMENTS.parent
    return [str(root / word) if word.startswith("experiments/") else word for word in shlex.split(found[1])]


def layers(path: Path) -> list[Path]:
    """The files that a recipe's command reads."""
    return [Path(value) for flag, value in pairwise(command(path)) if flag == "-c"]


def kind(path: Path) -> str:
    return str(read_layers(layers(path))["model"]["class_path"]).split(".")[1]


def named(paths: list[Path]) -> Any:
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(EXPERIMENTS)))


class SmallLpips(nn.Module):
    """Stands in for the public network, whose package and weights tests do not have."""

    def __init__(self, net: str, verbose: bool) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)

    def forward(self, a: Tensor, b: Tensor, normalize: bool) -> Tensor:
        return (self.features(a) - self.features(b)).square().mean((1, 2, 3), keepdim=True)


@pytest.fixture
def lpips(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lpips")
    module.LPIPS = SmallLpips  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", module)


MakeSet = Callable[[Path], Path]


@pytest.fixture(scope="module")
def data_for(tmp_path_factory: pytest.TempPathFactory) -> MakeSet:
    """A set that fits a recipe, made once for each kind and size."""
    made: dict[tuple[str, str], Path] = {}

    def make(path: Path) -> Path:
        entry = read_layers(layers(path))["levels"]
        key = (kind(path), json.dumps(entry))
        if key not in made:
            write = recipe_sets.latents if key[0] == "diffusion" else recipe_sets.frames
            made[key] = write(tmp_path_factory.mktemp(key[0]), Levels.from_dict(entry))
        return made[key]

    return make


def take_a_step(path: Path, run: Path, data: Path, *more: str) -> dict[str, float]:
    """What a recipe logs of its first step."""
    assert main([*command(path), "--run", str(run), "--data.folder", str(data), *OVERRIDES, *more]) == 0
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 1
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {name: float(value) for row in rows for name, value in row.items() if name and value}


@named(RECIPES)
def test_a_header_says_command_hardware_and_what_to_expect(path: Path) -> None:
    lines = header(path).splitlines()
    assert len(lines[0]) > 30 and max(map(len, path.read_text().splitlines())) <= 120
    assert path in layers(path), "its own command reads it"
    assert all(layer.is_file() for layer in layers(path))
    text = header(path)
    assert re.search(r"^Hardware: \S", text, re.MULTILINE) and re.search(r"Expected: \S", text)


@named([path for path in RECIPES if path.parent.name in ("plans", "ablations")])
def test_layers_hold_only_what_they_change(path: Path) -> None:
    changed = yaml.safe_load(path.read_text())
    if path.parent.name == "plans":
        assert list(changed) == ["plan"]
    assert len(changed) == 1
    assert read_layers(layers(path)) != read_layers(layers(path)[:-1])


# Of bf16-mixed on a CPU; a GPU's autocast norms in fp32.
bf16_on_a_cpu = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")


@bf16_on_a_cpu
@named(RECIPES)
def test_recipes_take_a_step(path: Path, data_for: MakeSet, tmp_path: Path, lpips: None) -> None:
    precision = ["--trainer.precision", "32-true"] if any("published" in str(layer) for layer in layers(path)) else []
    logged = take_a_step(path, tmp_path / "run", data_for(path), *SHALLOW[kind(path)], *precision)
    assert math.isfinite(logged["train/loss"])


@pytest.mark.slow
@bf16_on_a_cpu
@named([EXPERIMENTS / "published" / f"{name}.yaml" for name in ("tokenizer", "diffusion")])
def test_published_recipes_take_a_step_at_full_size(path: Path, data_for: MakeSet, tmp_path: Path, lpips: None) -> None:
    logged = take_a_step(path, tmp_path / "run", data_for(path), "--trainer.precision", "32-true")
    assert math.isfinite(logged["train/loss"])


@named([path for path in RECIPES if kind(path) == "diffusion"])
def test_plan_reads_layers_as_fit_does(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mstv.cli.fit import FitCLI

    class Parsed(FitCLI):
        def instantiate_classes(self) -> None:
            """Parsing is enough."""

    monkeypatch.setattr(sys, "argv", ["mstv"])  # else Lightning warns of arguments beside those of the test
    config = Parsed(command(path)[1:]).config
    found = Experiment.read(layers(path))
    assert found.levels == Levels(**vars(config.levels))
    assert found.attention == config.model.init_args.attention
    assert vars(found.size) == vars(config.model.init_args.size)
    assert type(found.family).__name__ == config.plan.class_path.rpartition(".")[2]
    parameters = {name: tuple(v) if isinstance(v, list) else v for name, v in vars(config.plan.init_args).items()}
    assert vars(found.family) == parameters


PUBLISHED_NAMES = {
    "plans/full_resolution": "baseline",
    "plans/framepack": "framepack",
    "plans/framepack_mirrored": "framepack_mirrored",
    "plans/upscale": "upscale",
    "plans/rollout_upscale": "rollout_upscale",
    "published/diffusion": "millivid",
}


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_plans_are_the_published_ones(name: str, reference: Path) -> None:
    path = reference / "rollout_plans.json"
    if not path.is_file():
        pytest.skip(f"{reference} holds no rollout_plans.json")
    experiment = Experiment.read(layers(EXPERIMENTS / f"{name}.yaml"))
    plan = experiment.family.plan(experiment.levels.num_tokens(0))
    steps = [[sorted(map(list, step.context)), sorted(map(list, step.targets))] for step in plan.steps]
    assert any(
        entry["name"] == PUBLISHED_NAMES[name]
        and entry["base_num_tokens"] == plan.base_num_tokens
        and [[sorted(step["context"]), sorted(step["denoised"])] for step in entry["steps"]] == steps
        for entry in json.loads(path.read_text())
    )
