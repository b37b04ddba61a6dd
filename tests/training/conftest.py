"""Tiny sets, and trainings on them in processes of their own: alone, under torchrun, or as SLURM starts them."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import yaml

from tests.data.conftest import LEVELS, latent_sample, write_frame_set, write_latent_set

ROOT = Path(__file__).parents[2]
Kind = Literal["tokenizer", "diffusion"]
SIZE = {"dim": 16, "depth": 1, "num_heads": 2}
LEVELS_ENTRY = {
    "image_size": list(LEVELS.image_size),
    "patch_size": list(LEVELS.patch_size),
    "num_levels": LEVELS.num_levels,
}
OPTIMISER = {"learning_rate": 1e-3, "warmup_steps": 5, "decay_steps": 40}
PARTS: dict[Kind, dict[str, Any]] = {
    "tokenizer": {
        "model": {
            "class_path": "mstv.tokenizer.module.TokenizerModule",
            "init_args": {"latent_channels": 4, "encoder": SIZE, "decoder": SIZE, "optimiser": OPTIMISER},
        },
        "data": {
            "class_path": "mstv.data.frames.FramesDataModule",
            "init_args": {"batch_size": 2, "num_workers": 2, "frames_per_chunk": 4, "shuffle_chunks": 4},
        },
    },
    "diffusion": {
        "plan": {
            "class_path": "mstv.rollout.coarse_to_fine.CoarseToFine",
            "init_args": {"windows": [1, 4, 8], "extra_context_tokens": 64},
        },
        "model": {
            "class_path": "mstv.diffusion.module.DiffusionModule",
            "init_args": {"size": SIZE, "optimiser": OPTIMISER},
        },
        "data": {
            "class_path": "mstv.data.latents.LatentsDataModule",
            "init_args": {"batch_size": 2, "num_workers": 2, "epoch_batches": 7, "validation_batches": 3},
        },
    },
}
TRAINER = {
    "accelerator": "cpu",
    "max_steps": 20,
    "max_epochs": -1,
    "val_check_interval": 6,
    "check_val_every_n_epoch": None,
    "num_sanity_val_steps": 0,
    "gradient_clip_val": 1.0,
    "log_every_n_steps": 3,
    "enable_model_summary": False,
}


LOGGED = ("step", "train/", "validation/")
"""Columns of metrics.csv that a resume must repeat; the others are about time and memory."""


@dataclass(frozen=True)
class Sets:
    """A set of frames and one of latents."""

    tokenizer: Path
    diffusion: Path


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    """Six shards of frames to train on, with codes of their own, and three episodes to validate on."""
    shards = {f"train-{index:06d}.tar": {f"long-{index}": range(36 * index, 36 * index + 36)} for index in range(6)}
    shards["validation-000000.tar"] = {"seen-0": range(20), "seen-1": range(100, 111), "seen-2": range(200, 216)}
    frames = write_frame_set(tmp_path_factory.mktemp("frames"), shards)
    latents, _ = write_latent_set(
        tmp_path_factory.mktemp("latents"),
        {
            "train-000000.tar": [latent_sample("one", 60, seed=1), latent_sample("two", 41, seed=2)],
            "validation-000000.tar": [latent_sample("three", 50, seed=3)],
        },
    )
    return Sets(frames, latents)


class Run:
    """A run directory of a tiny training, and the processes that train in it."""

    def __init__(self, folder: Path, kind: Kind, sets: Sets, launcher: "Launcher") -> None:
        self.folder, self.kind, self._launcher = folder, kind, launcher
        self.record = folder.with_name(f"{folder.name}-record")
        self.seconds = 0.0
        self.values: dict[str, Any] = {
            "levels": LEVELS_ENTRY,
            **json.loads(json.dumps(PARTS[kind])),
            "trainer": {**TRAINER, "callbacks": []},
            "checkpoint_seconds": 0.0,
            "wandb": False,
        }
        self.values["data"]["init_args"]["folder"] = str(getattr(sets, kind))
        self.callbacks: list[dict[str, Any]] = [
            {"class_path": "mstv.callbacks.ema.EMA", "init_args": {"decay": 0.9}},
        ]

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"

    def command(self, *more: str) -> list[str]:
        """What follows `mstv`."""
        recorder = {
            "class_path": "tests.training.recorder.Recorder",
            "init_args": {"folder": str(self.record), "seconds": self.seconds},
        }
        self.values["trainer"]["callbacks"] = [*self.callbacks, recorder]
        config = self.folder.with_name(f"{self.folder.name}.yaml")
        config.write_text(yaml.safe_dump(self.values))
        return ["fit", "-c", str(config), "--run", str(self.folder), *more]

    def start(self, *more: str, ranks: int = 1, env: list[dict[str, str]] | None = None) -> "Ranks":
        """Start the training; several ranks with the variables that torchrun sets, or with those given for each."""
        if ranks > 1:
            more = ("--trainer.devices", str(ranks), *more)
        env = env or torchrun_variables(ranks)
        return Ranks(self._launcher, self.command(*more), env, self.folder.with_name(f"{self.folder.name}.out"))

    def train(self, *more: str, ranks: int = 1) -> str:
        """Train to the end; returns what was said."""
        processes = self.start(*more, ranks=ranks)
        codes = processes.wait()
        assert set(codes) == {0}, processes.said()
        return processes.said()

    def lines(self, rank: int = 0) -> list[dict[str, Any]]:
        """What the recorder wrote; the last line may be cut off by a kill."""
        path = self.record / f"rank{rank}.jsonl"
        text = path.read_text() if path.is_file() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def steps(self, rank: int = 0) -> dict[int, dict[str, Any]]:
        """By batch, what the recorder wrote; what was done twice, before and after a kill, must agree."""
        found: dict[int, dict[str, Any]] = {}
        for line in self.lines(rank):
            del line["process"]
            assert found.setdefault(line["index"], line) == line
        return found

    def metrics(self) -> list[dict[str, str]]:
        """Rows of metrics.csv without what tells the time."""
        with (self.folder / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        kept = [{name: value for name, value in row.items() if value and name.startswith(LOGGED)} for row in rows]
        return [row for row in kept if row.keys() != {"step"}]

    def checkpoint(self, name: str = "last.ckpt") -> dict[str, Any]:
        return torch.load(self.folder / "checkpoints" / name, weights_only=True)


class Launcher:
    """See `tests.training.launcher`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            # Another test's W&B in this process must not serve them: it would hold on to runs that were killed.
            env={**{k: v for k, v in os.environ.items() if k != "WANDB_SERVICE"}, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._answer()

    def order(self, **order: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def close(self) -> None:
        self._process.communicate()


class Ranks:
    """The processes of a training, each in a session of its own."""

    def __init__(self, launcher: Launcher, command: list[str], variables: list[dict[str, str]], output: Path) -> None:
        self._launcher, self._output = launcher, output
        output.unlink(missing_ok=True)
        self.processes: list[int] = [
            launcher.order(command=command, env=each, output=str(output)) for each in variables
        ]
        self.codes: list[int | None] = [None] * len(variables)

    def said(self) -> str:
        return self._output.read_text()

    def poll(self) -> list[int | None]:
        """Exit codes of those that have ended."""
        for rank, process in enumerate(self.processes):
            if self.codes[rank] is None:
                self.codes[rank] = self._launcher.order(process=process)
        return self.codes

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that happens before the training ends."""
        end = time.monotonic() + 180
        while not condition():
            if None not in self.poll() or time.monotonic() > end:
                self.kill()
                pytest.fail(f"ended or waited too long, {self.codes}: {self.said()}")
            time.sleep(0.01)

    def wait(self) -> list[int | None]:
        """Exit codes of all."""
        end = time.monotonic() + 180
        while None in self.poll():
            if time.monotonic() > end:
                self.kill()
                pytest.fail(f"hangs, {self.codes}: {self.said()}")
            time.sleep(0.01)
        return self.codes

    def kill(self) -> None:
        """`kill -9` of ranks and workers at once."""
        for process, code in zip(self.processes, self.codes, strict=True):
            if code is None:
                os.killpg(process, signal.SIGKILL)
        while None in self.poll():
            time.sleep(0.01)

    def signal(self, number: signal.Signals, rank: int, group: bool = False) -> None:
        """Signal one rank, or all processes of its session."""
        (os.killpg if group else os.kill)(self.processes[rank], number)


def torchrun_variables(ranks: int) -> list[dict[str, str]]:
    """What torchrun sets for each rank; nothing for a process of its own."""
    shared = {
        "TORCHELASTIC_RUN_ID": "none",
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)] if ranks > 1 else [{}]


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    made = Launcher()
    yield made
    made.close()


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, sets: Sets, launcher: Launcher) -> Callable[[Kind], Run]:
    """A training of two ranks that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")

    @cache
    def trained(kind: Kind) -> Run:
        run = Run(folder / kind, kind, sets, launcher)
        run.train(ranks=2)
        return run

    return trained


@pytest.fixture
def new_run(tmp_path: Path, sets: Sets, launcher: Launcher) -> Callable[..., Run]:
    def make(name: str, kind: Kind) -> Run:
        return Run(tmp_path / name, kind, sets, launcher)

    return make


def assert_equal_runs(run: Run, whole: Run, ranks: int = 2) -> None:
    """All that two runs recorded, logged and saved, but the time of it."""
    for rank in range(ranks):
        assert run.steps(rank) == whole.steps(rank)
    assert run.metrics() == whole.metrics()
    found, expected = run.checkpoint(), whole.checkpoint()
    assert found["global_step"] == expected["global_step"] == run.values["trainer"]["max_steps"]
    for part in ("state_dict", "current_model_state"):
        assert found[part].keys() == expected[part].keys()
        for name, value in expected[part].items():
            assert torch.equal(found[part][name], value), f"{part} {name}"
    assert run.checkpoint("best.ckpt")["global_step"] == whole.checkpoint("best.ckpt")["global_step"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
