"""The benchmark of training compares loops that train the same, and writes what it promises."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import training
from benchmarks.paired_rounds import paired_ratio
from benchmarks.training_setup import RECIPE, Run, make_set
from benchmarks.training_worker import (
    Pace,
    Round,
    Stop,
    modulate_per_token,
    prepared,
    train_framework,
    train_plain,
)
from mstv.cli.runtime import Runtime


class Commands:
    """The parent's end of a connection: a list of commands, and the answers to them."""

    def __init__(self, *commands: Any) -> None:
        self.commands = [*commands, None]
        self.answers: list[Any] = []

    def recv(self) -> Any:
        return self.commands.pop(0)

    def send(self, answer: Any) -> None:
        self.answers.append(answer)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sets")
    make_set(folder, "latents-64", 1)
    yield folder


def train(loop: str, sets: Path, out: Path, *commands: Any) -> tuple[list[torch.Tensor], list[Any]]:
    run = Run("diffusion", RECIPE, "32", 2, workers=0)
    pace = Pace(Commands(*commands), Runtime(torch.device("cpu"), False))  # type: ignore[arg-type]
    cli = prepared(run, sets, out, pace)
    with pytest.raises(Stop):
        (train_framework if loop == "framework" else train_plain)(cli, pace)
    return [p.detach().clone() for p in cli.model.parameters()], pace.connection.answers  # type: ignore[attr-defined]


def test_both_loops_train_the_same(sets: Path, tmp_path: Path) -> None:
    plain, answers = train("plain", sets, tmp_path / "plain", 2, tmp_path / "plain.ckpt", 3)
    framework, others = train("framework", sets, tmp_path / "framework", 2, tmp_path / "framework.ckpt", 3)
    assert all(torch.equal(one, other) for one, other in zip(plain, framework, strict=True))
    for first, (seconds, interval), last in (answers, others):
        assert isinstance(first, Round) and (first.steps, last.steps) == (2, 3)
        assert first.samples == 2 * 2 and first.tokens == 2 * 2 * 128 and first.flops > 1e9
        assert last.seconds > last.cpu_seconds / 8 > 0 and 0 <= last.wait_seconds < last.seconds
        assert seconds > 0 and interval == 15
    assert [answer.flops for answer in answers[::2]] == [other.flops for other in others[::2]]
    averaged = torch.load(tmp_path / "plain.ckpt", weights_only=True)["averaged"]
    saved = torch.load(tmp_path / "framework.ckpt", weights_only=True)
    assert all(torch.equal(one, other) for one, other in zip(averaged, saved["state_dict"].values(), strict=True))


def test_modulation_per_token_is_the_same_function(sets: Path, tmp_path: Path) -> None:
    pace = Pace(Commands(), Runtime(torch.device("cpu"), False))  # type: ignore[arg-type]
    cli = prepared(Run("diffusion", RECIPE, "32", 2, workers=0), sets, tmp_path / "run", pace)
    module, data = cli.model, cli.datamodule
    for part in module.parameters():
        torch.nn.init.normal_(part, std=0.05)
    data.setup("fit")
    stream = data.training_stream(0, 1)
    batch = data.on_after_batch_transfer(stream.batch(0), 0)
    grouped, flops = module.training_step(batch, 0)["loss"], module.training_flops(batch)
    modulate_per_token(module)
    assert torch.allclose(module.training_step(batch, 0)["loss"], grouped, rtol=1e-4)
    # Of 24 d^2 products of a token's weights 6 d^2 come on top.
    assert 1.2 < module.training_flops(batch) / flops < 1.5


def test_the_interval_lies_between_order_statistics() -> None:
    ratio = paired_ratio([float(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9)], [1.0] * 9)
    assert (ratio.median, ratio.low, ratio.high) == (5, 2, 8) and ratio.coverage == pytest.approx(1 - 20 / 512)
    few = paired_ratio([3.0, 1.0, 2.0], [1.0, 1.0, 1.0])
    assert (few.low, few.high, few.coverage) == (1, 3, 0.75) and few.all == [3, 1, 2]
    assert paired_ratio([2.0], [1.0])[:3] == (2, 2, 2)


@pytest.mark.slow
def test_the_overhead_is_measured_whole(tmp_path: Path) -> None:
    command = ["--overhead", "--models", "diffusion", "--batch", "1", "--rounds", "3", "--steps", "2", "--warmup", "1"]
    command += ["--episodes", "1", "--device", "cpu", "--folder", str(tmp_path / "sets")]
    training.main([*command, "--json", str(tmp_path / "overhead.json")])
    results = json.loads((tmp_path / "overhead.json").read_text())
    assert results["versions"].keys() >= {"torch", "lightning"} and results["machine"] and results["commit"]
    (contest,) = results["contests"]
    assert contest["runs"].keys() == {"plain isolated grouped eager", "framework isolated grouped eager"}
    for run in contest["runs"].values():
        assert len(run["rounds"]) == 3 and run["rounds"][0]["steps"] == 2
        assert run["tokens_per_second"] > 0 and run["flops_utilisation"] > 0 and 0 <= run["data_wait_share"] < 1
        assert run["checkpoint"]["interval_seconds"] == 15 and min(run["checkpoint"]["seconds"]) > 0
    (ratio,) = contest["ratios"]
    assert (ratio["setting"], ratio["of"]) == ("loop", "framework isolated grouped eager")
    assert len(ratio["step_seconds"]["all"]) == 3 and ratio["step_seconds"]["low"] <= ratio["step_seconds"]["median"]


@pytest.mark.slow
def test_sizes_are_measured_whole(tmp_path: Path) -> None:
    command = ["--models", "diffusion", "--sizes", "tiny", "--loop", "plain", "--modulation", "grouped", "per_token"]
    command += ["--attention", "isolated", "--rounds", "1", "--steps", "1", "--warmup", "1", "--episodes", "1"]
    command += ["--device", "cpu", "--json", str(tmp_path / "sizes.json"), "--minutes", "9"]
    training.main(command)
    (contest,) = json.loads((tmp_path / "sizes.json").read_text())["contests"]
    (ratio,) = contest["ratios"]
    assert ratio["setting"] == "modulation" and ratio["step_seconds"]["median"] > 0
    assert all(run["rounds"][0]["tokens"] == 3840 for run in contest["runs"].values())


@pytest.mark.slow
def test_a_failure_is_told(tmp_path: Path) -> None:
    command = ["--overhead", "--models", "diffusion", "--batch", "1", "--steps", "1", "--episodes", "1"]
    with pytest.raises(RuntimeError, match="num_workers and seed must not be negative"):
        training.main([*command, "--device", "cpu", "--workers", "-2", "--folder", str(tmp_path)])
