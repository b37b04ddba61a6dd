"""`mstv plan-training`: what it says is what the real module, optimiser and plan have."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from mstv.cli.main import main
from mstv.cli.training_estimate import TrainingEstimate
from mstv.cli.training_setup import TrainingSetup
from mstv.data.latents import StepBatch
from mstv.diffusion.module import DiffusionModule
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.transformer.size import TransformerSize
from tests.cli import recipe_sets
from tests.cli.conftest import EXPERIMENTS
from tests.cli.test_plan_command import refused

DEMO = ["-c", str(EXPERIMENTS / "demo_diffusion.yaml")]
PUBLISHED = ["-c", str(EXPERIMENTS / "published" / "diffusion.yaml"), "--model.size.depth", "1"]
ISOLATED = ["-c", str(EXPERIMENTS / "ablations" / "isolated.yaml")]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "argv", ["mstv"])  # else Lightning warns of arguments beside those of the test


def planned(capsys: pytest.CaptureFixture[str], arguments: Sequence[str], code: int = 0) -> tuple[dict[str, str], str]:
    """Rows of the table, and what stands below it."""
    assert main(["plan-training", *arguments]) == code
    output = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if line.startswith("│")]
    return dict(rows), " ".join(output.rpartition("┘")[2].split())


def test_a_table_of_the_published_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    rows, below = planned(capsys, [*PUBLISHED, "--gpu", "h200", "--gpus", "8"])
    module = DiffusionModule(
        Levels((256, 256), (16, 16), 4),
        CoarseToFine([3, 12, 48, 192], 768),
        32,
        TransformerSize(768, 1, 12),
        *("discrete", 3, "joint"),
    )
    matrices = sum(part.weight.numel() for part in module.modules() if isinstance(part, torch.nn.Linear))
    everything = sum(parameter.numel() for parameter in module.parameters())
    muon, adamw = f"{matrices / 1e6:.1f} M", f"{everything - matrices:,}"
    assert rows["parameters"] == f"{everything / 1e6:.1f} M: {muon} in matrices by Muon, {adamw} by AdamW"
    assert rows["model"] == "diffusion transformer, coarse_to_fine plan, joint attention"
    assert rows["batch"] == "384 (48 on each)"
    assert rows["tokens a step"] == "1,474,560"
    flops = 0.0
    for index, probability in enumerate(module.plan.step_probability):
        batch = StepBatch(index, torch.empty(1, 3840, 32), None, 0, ("a",), (0,))
        flops += 384 * probability * module.training_flops(batch)
    assert rows["work a step"] == f"{flops / 1e12:,.4g} TFLOP"
    seconds = flops / (8 * 0.4 * 989.4e12)
    assert rows["time a step"].startswith(f"{seconds:.3g} s")
    assert rows["hours"] == f"{192000 * seconds / 3600:.3g}"
    assert rows["weights"] == rows["optimiser"] == rows["exchange of gradients"] == f"{4 * everything / 2**30:.2f} GiB"
    assert rows["averaged weights"] == "0.00 GiB"
    assert "40% of 989.4 TFLOP/s (bf16, published, dense) is assumed" in below


def test_layers_and_options_count(capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--trainer.devices", "2", "--data.batch_size", "2", "--trainer.accumulate_grad_batches", "3"]
    ema = ["-c", str(EXPERIMENTS / "ablations" / "ema.yaml")]
    measured = ["--tokens-per-second", "46080", "--gpu-memory", "20", "--gpu", "some card"]
    rows, below = planned(capsys, [*PUBLISHED, *ISOLATED, *ema, *more, *measured])
    assert rows["model"].endswith("isolated attention")
    assert rows["on"] == "2 x some card, ddp, bf16-mixed"
    assert rows["batch"] == "12 (2 x 3 accumulated on each)"
    assert rows["time a step"] == "1 s (46,080 tokens/s)"
    assert rows["averaged weights"] == rows["weights"]
    assert rows["memory of each"].endswith("of 20.0 GiB")
    assert "assumed are" in below and "of peak" not in below


@pytest.mark.slow
def test_what_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*PUBLISHED, "--gpu", "H100", "--data.batch_size", "6"]
    rows, _ = planned(capsys, [*arguments, "--gpu-memory", "50"])
    needed = float(rows["memory of each"].split()[0])
    _, below = planned(capsys, [*arguments, "--gpu-memory", f"{needed - 0.3}"], 1)
    assert "It does not fit" in below
    options = re.findall(r"(--\S.*?) \(([\d.]+) GiB\)", below.partition("fits with:")[2])
    assert options
    for text, total in options:
        again, _ = planned(capsys, [*arguments, "--gpu-memory", f"{needed - 0.3}", *text.split()])
        assert again["memory of each"].split()[0] == total
        assert again["batch"].startswith("6 ")
    _, below = planned(capsys, [*arguments, "--gpu-memory", "1"], 1)
    assert "Not even a batch of 1 fits" in below


def test_optimiser_states_are_those_of_a_real_step() -> None:
    for kind in ("muon_adamw", "adamw"):
        setup = TrainingSetup.read([*DEMO, "--model.optimiser.kind", kind, "--data.batch_size", "1"])
        estimate = TrainingEstimate(setup)
        module = DiffusionModule(
            Levels((64, 64), (16, 16), 3), CoarseToFine([2, 8, 32], 32), 32, TransformerSize(192, 4, 6), "discrete", 3,
            optimiser=estimate.module.optimiser,
        )  # fmt: skip
        optimiser, _ = module.optimiser.build(module)
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimiser.step()
        states = [value for state in optimiser.state.values() for value in state.values()]
        kept = sum(value.nbytes for value in states if isinstance(value, torch.Tensor) and value.ndim)
        assert estimate.memory.optimiser == kept
        assert estimate.memory.weights == sum(parameter.nbytes for parameter in module.parameters())


def test_latents_that_are_there_say_what_they_are(tmp_path: Path) -> None:
    levels = Levels((64, 64), (16, 16), 3)
    folder = recipe_sets.latents(tmp_path, levels, 90)
    assert TrainingSetup.read([*DEMO, "--data.folder", str(folder)], num_actions=0).module().config["num_actions"] == 3
    absent = TrainingSetup.read([*DEMO, "--data.folder", "absent"], latent_channels=8, num_actions=0).module()
    assert absent.config["latent_channels"] == 8 and absent.config["action_kind"] == "none"


def test_mistakes_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, ["plan-training"], "-c experiments/X.yaml")
    refused(capsys, ["plan-training", *DEMO, "--gpu", "abacus"], "--gpu abacus", "H100", "--gpu-memory")
    refused(capsys, ["plan-training", *DEMO, "--gpu", "abacus", "--gpu-memory", "8"], "--tokens-per-second")
    refused(capsys, ["plan-training", *DEMO, "--gpu", "H100", "--trainer.precision", "64-true"], "trainer.precision")
    refused(capsys, ["plan-training", *DEMO, "--gpu", "H100", "--trainer.strategy", "fsdp"], "trainer.strategy is fsdp")
    refused(capsys, ["plan-training", *DEMO, "--model.attention", "none"], "attention")
    for wrong in (["--gpus", "0"], ["--utilisation", "0"], ["--gpu-memory", "x"]):
        with pytest.raises(SystemExit) as end:
            main(["plan-training", *DEMO, *wrong])
        assert end.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_help_tells_its_options_and_those_of_fit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan-training", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--utilisation" in text and "All other options are those of `mstv fit`" in text
