"""Tiny sets, and trainings on them in processes of their own: alone, under torchrun, or as SLURM starts them."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
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

    def __init__(self, folder: Path, kind: Kind, sets: Sets) -> None:
        self.folder, self.kind = folder, kind
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

    def start(self, *more: str, ranks: int = 1, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start the training; with several ranks by torchrun."""
        program = [sys.executable, "-m"]
        if ranks > 1:
            program += ["torch.distributed.run", f"--nproc-per-node={ranks}", f"--master-port={free_port()}", "-m", "--"]
            more = ("--trainer.devices", str(ranks), *more)
        return spawn([*program, "mstv.cli.main", *self.command(*more)], env)

    def train(self, *more: str, ranks: int = 1) -> str:
        """Train to the end; returns what was said."""
        process = self.start(*more, ranks=ranks)
        said = finish(process)
        assert process.returncode == 0, said
        return said

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
        return [
            {name: value for name, value in row.items() if value and name.startswith(("step", "train/", "validation/"))}
            for row in rows
        ]

    def checkpoint(self, name: str = "last.ckpt") -> dict[str, Any]:
        return torch.load(self.folder / "checkpoints" / name, weights_only=True)


@pytest.fixture
def new_run(tmp_path: Path, sets: Sets) -> Callable[..., Run]:
    def make(name: str, kind: Kind) -> Run:
        return Run(tmp_path / name, kind, sets)

    return make


def spawn(command: list[str], env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    """A process in a group of its own, which ignores no signal."""
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: "subprocess.Popen[str]") -> str:
    try:
        said, _ = process.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        pytest.fail(f"hangs: {said}")
    return said


def kill_all(process: "subprocess.Popen[str]") -> None:
    """`kill -9` of ranks and workers at once."""
    # torchrun starts each rank in a session of its own.
    ranks = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    for group in {process.pid, *map(int, ranks)}:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(group, signal.SIGKILL)
    process.communicate()


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
            pytest.fail(f"ended or waited too long: {process.communicate()[0]}")
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
