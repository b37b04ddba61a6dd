"""`mstv demo`: the whole pipeline on this machine, stage by stage, each the command that a user would type."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mstv.errors import UserError
from mstv.termination import EXIT_CODE, Terminated

_MANY_WORLDS = 48
"""From so many on, splits by a hash leave none empty (with 1 % doubt)."""
EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of everything it makes (default: demo)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--videos", type=Path, help="use the videos of this folder, without actions, instead of recording blockworld"
    )
    source.add_argument(
        "--raw", type=Path, help="use these raw episodes of 64x64, recorded or imported before, with their actions"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that record (default: 2)")
    parser.add_argument("--quick", action="store_true", help="a few training steps: checks the pipeline only")


@dataclass(frozen=True)
class Stage:
    """One command of the pipeline; `mstv` or `mstv-data` and its arguments."""

    name: str
    program: str
    arguments: list[str]


def run(arguments: argparse.Namespace) -> int:
    """Run every stage; those that are done find nothing to do, an interrupted one goes on."""
    if not (EXPERIMENTS / "demo_tokenizer.yaml").is_file():
        raise UserError(f"{EXPERIMENTS}: holds no demo_tokenizer.yaml: run the demo from a clone of the repository")
    started = time.monotonic()
    timings = []
    total = 7 if arguments.raw else 8
    for number, stage in enumerate(stages(arguments), 1):
        print(f"\n[{number}/{total}] {stage.name}: {stage.program} {' '.join(stage.arguments)}", flush=True)
        begun = time.monotonic()
        module = "mstv.cli.main" if stage.program == "mstv" else "data_tools.cli"
        code = _run([sys.executable, "-m", module, *stage.arguments])
        if code in (130, EXIT_CODE) or code < 0:
            raise KeyboardInterrupt
        if code:
            raise UserError(f"demo: stage {stage.name} failed with exit code {code}, see its message above")
        timings.append((stage.name, time.monotonic() - begun))
    print()
    for name, seconds in timings:
        print(f"  {name:<20} {seconds:7.1f} s")
    print(f"  {'all':<20} {time.monotonic() - started:7.1f} s")
    print(f"\nOpen {(arguments.out / 'index.html').resolve()}")
    return 0


def _run(command: list[str]) -> int:
    """Exit code of a stage, which ends in order when this process is asked to end."""
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt as stop:
            # Ctrl-C reaches the stage by itself, SIGTERM this process alone.
            if isinstance(stop, Terminated):
                process.terminate()
            process.wait()
            raise


def stages(arguments: argparse.Namespace) -> Iterator[Stage]:
    """The pipeline's commands in order; a later one may depend on what an earlier one made."""
    out, videos, quick, workers = arguments.out, arguments.videos, arguments.quick, str(arguments.workers)
    raw, shards, latents = arguments.raw or out / "raw", out / "shards", out / "latents"
    tokenizer, diffusion = out / "tokenizer", out / "diffusion"
    limit = ["--trainer.max_steps", "20", "--trainer.val_check_interval", "10"] if quick else []
    span = ["--context", "128", "--end", "384", "--nfe", "12", "--sampler", "dpm_solver", "--episodes", "4"]
    if quick:
        span = ["--context", "64", "--end", "128", "--nfe", "2", "--episodes", "2"]

    def fit(experiment: str, run_folder: Path, data: Path) -> list[str]:
        # Asked for here, so that nothing is left behind where there are no episodes to train on.
        precision = _settings(out)["precision"]
        # The YAML comes first, what overrides it after.
        files = ["-c", str(EXPERIMENTS / experiment), "--run", str(run_folder), "--data.folder", str(data)]
        return ["fit", *files, "--trainer.precision", precision, *limit]

    if arguments.raw is None and videos is None:
        record = ["record", "--engine", "blockworld", "--policy", "loopwalk", "--episodes", "48", "--frames", "512"]
        yield Stage("record", "mstv-data", [*record, "--size", "64", "--workers", workers, "--out", str(raw)])
    elif videos is not None:
        source = ["import", "videos", str(videos), str(raw), "--size", "64", "--segment-frames", "512"]
        yield Stage("import", "mstv-data", [*source, "--min-frames", "384", "--workers", workers])
    splits = _splits_of_few_worlds(raw) if videos or arguments.raw else []
    yield Stage("shard", "mstv-data", ["shard", str(raw), str(shards), "--episodes-per-shard", "4", *splits])
    yield Stage("train tokenizer", "mstv", fit("demo_tokenizer.yaml", tokenizer, shards))
    yield Stage("encode", "mstv", ["encode", str(shards), str(latents), "--tokenizer", str(tokenizer)])
    yield Stage("train diffusion", "mstv", fit("demo_diffusion.yaml", diffusion, latents))
    yield Stage("rollout", "mstv", ["rollout", str(diffusion), *span])
    yield Stage("evaluate", "mstv", ["evaluate", str(diffusion), *span])
    yield Stage("page", "mstv", ["compare", str(diffusion), "--out", str(out / "index.html")])


def _splits_of_few_worlds(raw: Path) -> list[str]:
    """The last of few worlds to test and the one before to validate: hashes could leave a split empty."""
    from mstv.data.schema import CAMPAIGN, RECORD, Episode

    if not raw.is_dir():
        raise UserError(f"{raw}: no such folder: give the folder of raw episodes")
    records = [path for path in raw.glob(f"*.{RECORD}") if path.name != CAMPAIGN]
    worlds = sorted({Episode.read(path).source.world for path in records})
    if len(worlds) < 3:
        raise UserError(
            f"{raw}: holds episodes of {len(worlds)} worlds (a video is a world): give three or more, to train, "
            "validate and test on"
        )
    if len(worlds) >= _MANY_WORLDS:
        return []
    return [
        *["--train-worlds", ",".join(worlds[:-2])],
        *["--validation-worlds", worlds[-2], "--test-worlds", worlds[-1]],
    ]


def _settings(out: Path) -> dict[str, str]:
    """What the first run found best on this machine; later runs keep it, so that a resumed training is the same."""
    path = out / "settings.json"
    if not path.is_file():
        from mstv.data.schema import atomic_path

        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps({"precision": _fastest_precision()}) + "\n")
    settings: dict[str, str] = json.loads(path.read_text())
    return settings


def _fastest_precision() -> str:
    """bf16-mixed where it is faster: on GPUs, and on CPUs with bf16 units; elsewhere it is many times slower."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        return "bf16-mixed"

    def seconds(dtype: torch.dtype) -> float:
        a = torch.ones(512, 512, dtype=dtype)
        a @ a
        begun = time.perf_counter()
        for _ in range(5):
            a @ a
        return time.perf_counter() - begun

    return "bf16-mixed" if seconds(torch.bfloat16) < 0.6 * seconds(torch.float32) else "32-true"
