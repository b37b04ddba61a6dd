"""Speed of training: tokens/s and utilisation of tokenizer and diffusion, beside a plain loop without Lightning.

python -m benchmarks.training --overhead --json overhead.json            # the framework's cost at the demo's recipes
python -m benchmarks.training --overhead --quick                         # the same with few steps, about five minutes
python -m benchmarks.training --sizes tiny S --json sizes.json           # 256x256, the published plan
python -m benchmarks.training --sizes B --precision bf16 --compile on --batch 16 --json b.json       # on a GPU
python -m benchmarks.training --sizes B --modulation grouped per_token --loop plain --models diffusion

Runs that are compared stand in one contest: each is a warm process of its own that trains some steps when it is its
turn and stands still otherwise; rounds alternate, and so does the order in a round. The same batches come from the same
loader in the same order.
  framework: what `mstv fit` runs, with its callbacks, loggers and progress bar; no validation, no W&B, no checkpoint
             while the clock runs. What a checkpoint takes is measured apart, and added at the recipe's interval.
  plain:     loader, loss, backward, clipping, optimiser, schedule and averaged weights in one loop; it logs nothing.
Ratios are medians over the paired rounds, with an interval of at least 95 % between two order statistics. Utilisation
is the FLOPs of `mstv.transformer.flops` over the seconds and over what the device's own matrix product reaches
(`share_of_product`), and over the vendor's number where it is known (`utilisation`).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch

from benchmarks.paired_rounds import paired_ratio
from benchmarks.rollout import SIZES, synchronise, tell
from benchmarks.training_setup import RECIPE, Run, make_set
from benchmarks.training_worker import Round, work
from mstv.cli.arguments import at_least
from mstv.cli.runtime import Runtime

VENDOR_PEAK = {("H200", "bf16"): 989.5e12, ("H200", "32"): 494.7e12, ("H100", "bf16"): 989.5e12}
"""Dense FLOP/s that the vendor names; fp32 runs as TF32."""
DEFAULT_BATCH = {"diffusion": {"cpu": 1, "cuda": 16}, "tokenizer": {"cpu": 8, "cuda": 128}}
CHECKPOINTS = 3


class Contestant:
    """A process that trains one run; see `benchmarks.training_worker.work`."""

    def __init__(self, run: Run, folder: Path, out: Path, device: str) -> None:
        self.run = run
        self.rounds: list[Round] = []
        context = multiprocessing.get_context("spawn")
        self._connection, child = context.Pipe()
        # Not a daemon: it has loader processes of its own.
        self._process = context.Process(target=work, args=(run, folder, out, device, child))
        self._process.start()
        child.close()

    def ask(self, command: int | Path) -> Any:
        """Send a command and wait for the answer.

        Raises:
            RuntimeError: the process failed; with its traceback.
        """
        try:
            self._connection.send(command)
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"{self.run.name}: ended with exit code {self._process.exitcode}") from None
        if isinstance(answer, str):
            raise RuntimeError(f"{self.run.name}:\n{answer}")
        return answer

    def warm_up(self, steps: int, deadline: float) -> float:
        """Train some steps, and compiled models on until every shape of a step has been seen.

        Returns:
            seconds of the last step.
        """
        done: Round = self.ask(steps)
        while self.run.compiled and done.shapes_left and time.monotonic() < deadline:
            done = self.ask(2)
        return self.ask(1).seconds

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._connection.send(None)
        self._process.join(30)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def contest(runs: Sequence[Run], folder: Path, options: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """Train all runs in alternating rounds.

    Args:
        runs: of one model, size, precision and batch.
        folder: of the sets.
        options: the command line.
        deadline: time.monotonic() after which no round begins.
    """
    first = runs[0]
    make_set(folder, first.data, options.episodes)
    contestants: list[Contestant] = []
    with tempfile.TemporaryDirectory() as out:
        try:
            slowest = 0.0
            for number, run in enumerate(runs):
                tell(f"{run.model} {run.size} {run.precision}: {run.name}: warm-up")
                contestants.append(Contestant(run, folder, Path(out) / f"run-{number}", options.device))
                slowest = max(slowest, contestants[-1].warm_up(options.warmup, deadline))
            # In whole log intervals of the recipe, so that every round logs as often.
            unit = 25 if options.overhead else 1
            steps = options.steps or unit * max(1, math.ceil(options.seconds / slowest / unit))
            for number in range(options.rounds):
                if number and time.monotonic() > deadline:
                    tell("the time is up")
                    break
                for one in contestants if number % 2 == 0 else reversed(contestants):
                    done = one.ask(steps)
                    one.rounds.append(done)
                    rate = done.tokens / done.seconds
                    tell(f"{one.run.name}: round {number + 1} of {options.rounds}, {rate:.0f} tokens/s")
            saved = {}
            if options.overhead:
                saved = {
                    one.run.name: [one.ask(Path(out) / f"{index}.ckpt") for index in range(CHECKPOINTS)]
                    for one in contestants
                }
        finally:
            for one in contestants:
                one.close()
    return report(contestants, saved, steps, options)


def report(
    contestants: list[Contestant], saved: dict[str, list[tuple[float, float]]], steps: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Rates, utilisation, ratios and all rounds of a contest."""
    first = contestants[0].run
    product = options.product[first.precision]
    peaks = [peak for (name, kind), peak in VENDOR_PEAK.items() if name in options.machine and kind == first.precision]
    results: dict[str, Any] = {
        "model": first.model,
        "size": first.size,
        "precision": first.precision,
        "batch": first.batch or RECIPE,
        "steps_a_round": steps,
        "runs": {},
        "ratios": [],
    }
    for one in contestants:
        middle = {name: statistics.median(values) for name, values in rates(one.rounds).items()}
        results["runs"][one.run.name] = {
            **middle,
            "utilisation": middle["flops_per_second"] / peaks[0] if peaks else None,
            "share_of_product": middle["flops_per_second"] / product,
            "peak_mib": max(done.peak_mib for done in one.rounds),
            "settings": asdict(one.run),
            "rounds": [asdict(done) for done in one.rounds],
        }
    for one, other in itertools.combinations(contestants, 2):
        if len(differences := one.run.differs_in(other.run)) == 1:
            results["ratios"].append(ratio(one, other, differences[0]))
    if saved:
        results["checkpoint"] = checkpoints(saved)
    return results


def rates(rounds: list[Round]) -> dict[str, list[float]]:
    """What each round did a second, and the share of it that it waited for the loader."""
    return {
        "tokens_per_second": [done.tokens / done.seconds for done in rounds],
        "tokens_per_cpu_second": [done.tokens / done.cpu_seconds for done in rounds],
        "samples_per_second": [done.samples / done.seconds for done in rounds],
        "seconds_a_step": [done.seconds / done.steps for done in rounds],
        "flops_per_second": [done.flops / done.seconds for done in rounds],
        "data_wait_share": [done.wait_seconds / done.seconds for done in rounds],
    }


def ratio(one: Contestant, other: Contestant, setting: str) -> dict[str, Any]:
    """How many times as long a step of `other` takes as one of `one`; they differ in one setting."""
    slow, fast = ([done.seconds / done.steps for done in each.rounds] for each in (other, one))
    cpu_slow, cpu_fast = ([done.cpu_seconds / done.steps for done in each.rounds] for each in (other, one))
    return {
        "of": other.run.name,
        "over": one.run.name,
        "setting": setting,
        "seconds": paired_ratio(slow, fast)._asdict(),
        "cpu_seconds": paired_ratio(cpu_slow, cpu_fast)._asdict(),
    }


def checkpoints(saved: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Seconds that a checkpoint takes, and its share of the time at the recipe's interval between two."""
    seconds = {name: [took for took, _ in each] for name, each in saved.items()}
    interval = next(iter(saved.values()))[0][1]
    return {
        "seconds": seconds,
        "interval_seconds": interval,
        "share": {name: statistics.median(each) / interval for name, each in seconds.items()},
    }


def matrix_product(runtime: Runtime, seconds: float = 1.0) -> float:
    """FLOP/s of a large square matrix product, the best of many."""
    side = 8192 if runtime.device.type == "cuda" else 1536
    dtype = torch.bfloat16 if runtime.bf16 else torch.float32
    a, b = torch.randn(2, side, side, device=runtime.device, dtype=dtype).unbind()
    best, started = math.inf, time.perf_counter()
    while time.perf_counter() - started < seconds:
        synchronise(runtime)
        began = time.perf_counter()
        a @ b
        synchronise(runtime)
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def planned(options: argparse.Namespace) -> list[list[Run]]:
    """The contests that the command line asks for."""
    if options.overhead:
        return [
            [
                Run(model, RECIPE, precision, options.batch, loop, workers=options.workers)
                for loop in ("plain", "framework")
            ]
            for model in options.models
            for precision in options.precision
        ]
    contests = []
    kind = torch.device(options.device).type
    for model, size, precision in itertools.product(options.models, options.sizes, options.precision):
        batch = options.batch or DEFAULT_BATCH[model][kind]
        attention, modulation, draws = options.attention, options.modulation, options.noise_draws
        if model == "tokenizer":
            attention, modulation, draws = ["joint"], ["grouped"], [1]
        contests.append(
            [
                Run(model, size, precision, batch, *each, workers=options.workers)
                for each in itertools.product(
                    options.loop, attention, modulation, [word == "on" for word in options.compile], draws
                )
                if each[1] == "isolated" or each[4] == 1  # only isolated contexts can be shared
            ]
        )
    return contests


def commit() -> str | None:
    """The commit that is measured, marked where files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def arguments_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--overhead", action="store_true", help="both loops at the demo's recipes, 9 rounds")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 second; with --overhead 5 of 5 seconds")
    parser.add_argument("--models", nargs="+", choices=["diffusion", "tokenizer"], default=["diffusion", "tokenizer"])
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["tiny"], help="(default: tiny)")
    parser.add_argument("--attention", nargs="+", choices=["isolated", "joint"], default=["isolated", "joint"])
    parser.add_argument("--modulation", nargs="+", choices=["grouped", "per_token"], default=["grouped"])
    parser.add_argument("--compile", nargs="+", choices=["off", "on"], default=["off"], help="(default: off)")
    parser.add_argument("--loop", nargs="+", choices=["plain", "framework"], default=["plain", "framework"])
    parser.add_argument("--noise-draws", nargs="+", type=at_least(1), default=[1], help="of a context (default: 1)")
    parser.add_argument("--precision", nargs="+", choices=["32", "bf16"], default=["32"], help="(default: 32)")
    parser.add_argument("--batch", type=at_least(1), help="samples (default: the recipe's, or what fits the device)")
    parser.add_argument("--workers", type=int, default=-1, help="loader processes (default: the recipe's, or 2)")
    parser.add_argument("--rounds", type=at_least(1), help="alternating rounds (default: 9 with --overhead, else 5)")
    parser.add_argument("--steps", type=at_least(1), help="training steps of a round (default: what --seconds gives)")
    parser.add_argument("--seconds", type=float, help="of a round (default: 15 with --overhead, else 5)")
    parser.add_argument("--warmup", type=at_least(1), default=3, help="steps before the first round (default: 3)")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin nothing new after them (default: no limit)"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", type=Path, help="where the sets are made, once (default: a temporary folder)")
    parser.add_argument("--episodes", type=int, default=0, help="of each set that is made (default: what suits a CPU)")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the results."""
    options = arguments_parser().parse_args(arguments)
    started = time.monotonic()
    deadline = started + 60 * options.minutes
    quick = options.quick
    options.rounds = options.rounds or ((5 if quick else 9) if options.overhead else (3 if quick else 5))
    options.seconds = options.seconds or ((5.0 if quick else 15.0) if options.overhead else (1.0 if quick else 5.0))
    options.batch = options.batch or 0
    device = torch.device(options.device)
    torch.set_float32_matmul_precision("high")
    options.machine = Runtime(device, False).machine
    tell("matrix product")
    options.product = {name: matrix_product(Runtime(device, name == "bf16")) for name in options.precision}
    results: dict[str, Any] = {
        "benchmark": "training",
        "machine": options.machine,
        "cores": os.cpu_count(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "numpy": np.__version__,
        },
        "commit": commit(),
        "command": [*(sys.argv[1:] if arguments is None else arguments)],
        "matrix_product_flops_per_second": options.product,
        "rounds": options.rounds,
        "load_averages": [os.getloadavg()[0]],
        "contests": [],
        "left_out": [],
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for runs in planned(options):
            if time.monotonic() > deadline:
                results["left_out"] += [asdict(run) for run in runs]
                continue
            results["contests"].append(contest(runs, folder, options, deadline))
            results["load_averages"].append(os.getloadavg()[0])
            write(results, options.json)
    results["seconds"] = time.monotonic() - started
    print(json.dumps(results, indent=2))
    write(results, options.json)


def write(results: dict[str, Any], path: Path | None) -> None:
    """Write what there is so far: a long measurement may be cut off."""
    if path:
        path.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
