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
             while the clock runs. What a checkpoint takes is measured apart, with --overhead.
  plain:     loader, loss, backward, clipping, optimiser, schedule and averaged weights in one loop; it logs nothing.
Ratios are medians over the paired rounds, with an interval of at least 95 % between two order statistics (9 rounds: the
2nd and the 8th). Utilisation is the FLOPs of `mstv.transformer.flops` over the seconds and the device's peak, published
or, where none is known, measured (`mstv.device_peak`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
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

from benchmarks.rollout import SIZES, tell
from benchmarks.training_contest import Contest
from benchmarks.training_setup import RECIPE, Run, make_set
from mstv.cli.arguments import at_least
from mstv.cli.runtime import Runtime
from mstv.device_peak import DevicePeak

DEFAULT_BATCH = {"diffusion": {"cpu": 1, "cuda": 16}, "tokenizer": {"cpu": 8, "cuda": 128}}
LOG_INTERVAL = 25
"""Steps from one log entry to the next in the demo's recipes: rounds of whole intervals log equally often."""


def planned(options: argparse.Namespace) -> list[list[Run]]:
    """The runs of each contest that the command line asks for."""
    kind, contests = torch.device(options.device).type, []
    sizes = [RECIPE] if options.overhead else options.sizes
    for model, size, precision in itertools.product(options.models, sizes, options.precision):
        batch = options.batch or (0 if options.overhead else DEFAULT_BATCH[model][kind])
        compiled = [word == "on" for word in options.compile]
        ways: list[list[Any]] = [options.attention, options.modulation, compiled, options.noise_draws, options.kernel]
        if options.overhead:
            ways = [["isolated"], ["grouped"], [False], [1], ["default"]]
        elif model == "tokenizer":
            ways = [["joint"], ["grouped"], compiled, [1], options.kernel]
        runs = [
            Run(model, size, precision, batch, *each, workers=options.workers)
            for each in itertools.product(options.loop, *ways)
        ]
        # Only isolated contexts can be shared.
        contests.append([run for run in runs if run.attention == "isolated" or run.noise_draws == 1])
    return [runs for runs in contests if runs]


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
    parser.add_argument("--kernel", nargs="+", choices=["default", "flash", "cudnn"], default=["default"])
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
    quick, overhead = options.quick, options.overhead
    rounds = options.rounds or ((5 if quick else 9) if overhead else (3 if quick else 5))
    seconds = options.seconds or ((5.0 if quick else 15.0) if overhead else (1.0 if quick else 5.0))
    device = torch.device(options.device)
    torch.set_float32_matmul_precision("high")
    tell("peak of the device")
    peaks = {name: DevicePeak.of(device, "bf16-mixed" if name == "bf16" else "32-true") for name in options.precision}
    results: dict[str, Any] = {
        "benchmark": "training",
        "machine": Runtime(device, False).machine,
        "cores": os.cpu_count(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "numpy": np.__version__,
        },
        "commit": commit(),
        "command": [*(sys.argv[1:] if arguments is None else arguments)],
        "rounds": rounds,
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
            make_set(folder, runs[0].data, options.episodes)
            contest = Contest(
                runs,
                rounds,
                seconds,
                options.steps,
                LOG_INTERVAL if overhead else 1,
                options.warmup,
                deadline,
                overhead,
            )
            results["contests"].append(contest.hold(folder, options.device, peaks[runs[0].precision]))
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
