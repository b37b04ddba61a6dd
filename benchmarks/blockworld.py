"""Speed of BlockWorld on one core, stepping and drawing included, under the loop walk.

python -m benchmarks.blockworld --size 128 --seconds 5 --json blockworld.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numba
import numpy as np

from data_tools.engines.blockworld import BlockWorldEnv
from data_tools.policies import LoopWalk


def machine() -> dict[str, str | int | None]:
    """Describe where the numbers were measured."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    return {
        "cpu": names[0].split(":", 1)[1].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numba": numba.__version__,
        "numpy": np.__version__,
    }


def measure(world: int, size: int, seconds: float) -> dict[str, float]:
    """Walk through one world: seconds to build it, and frames per second of wall-clock and of CPU time."""
    start = time.perf_counter()
    env = BlockWorldEnv(world=world, size=size)
    built = time.perf_counter() - start
    policy = LoopWalk()
    policy.reset(np.random.default_rng(world))
    _, info = env.reset(seed=world)
    frames, start, start_cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        info = env.step(policy.act(info))[4]
        frames += 1
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return {
        "world": world,
        "build_seconds": built,
        "frames_per_second": frames / wall,
        "frames_per_cpu_second": frames / cpu,
    }


def main() -> None:
    """Measure several worlds, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="frame side in pixels")
    parser.add_argument("--seconds", type=float, default=5.0, help="wall-clock seconds over all worlds")
    parser.add_argument("--worlds", type=int, default=5, help="how many world seeds")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    BlockWorldEnv(size=8).reset()  # compiles
    runs = [measure(world, arguments.size, arguments.seconds / arguments.worlds) for world in range(arguments.worlds)]
    summary: dict[str, object] = {"size": arguments.size, "machine": machine(), "runs": runs}
    for key in ("frames_per_second", "frames_per_cpu_second", "build_seconds"):
        values = [run[key] for run in runs]
        summary[key] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
        print(f"{key:22} median {statistics.median(values):8.2f}  min {min(values):8.2f}  max {max(values):8.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
