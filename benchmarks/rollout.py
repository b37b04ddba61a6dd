"""Speed of a rollout step of the published main plan: the published procedure against ours, alternating.

python -m benchmarks.rollout --size S B --json rollout.json
python -m benchmarks.rollout --quick --json quick.json          # size S, one step, under 8 minutes on 2 cores
python -m benchmarks.rollout --size S --profile                 # where the time of one step goes

Procedures, on the same kernels, weights' shapes, precision and compilation, so that only the procedure differs:
(a) published: joint attention, 50 DDIM evaluations, each of every token with its own modulation;
(j) joint attention at equal NFE: conditions per (frame, level), and of the last block only the targets;
(b) isolated attention at equal NFE: the context's keys and values once a step, then the targets alone;
(c) isolated attention and 12 evaluations of DPM-Solver++(2M); what it does to quality is told in experiments/LOG.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mstv.cli.arguments import at_least
from mstv.cli.runtime import Runtime
from mstv.diffusion.denoiser import Denoiser
from mstv.diffusion.sample_step import Sampling, sample_step
from mstv.diffusion.sampler import ddim
from mstv.diffusion.schedule import NoiseSchedule, add_noise
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.layout import StepLayout
from mstv.tokenizer.tokenizer import Tokenizer
from mstv.transformer.embeddings import position_3d
from mstv.transformer.size import TransformerSize

SIZES = {"tiny": TransformerSize(192, 4, 3), "S": TransformerSize(384, 12, 6), "B": TransformerSize(768, 12, 12)}
LEVELS = Levels((256, 256), (16, 16), 4)
CHANNELS = 32
PLAN = CoarseToFine([3, 12, 48, 192], 768).plan(LEVELS.num_tokens(0))
PUBLISHED_NFE = 50
QUICK_SECONDS = 400.0
"""What `--quick` may take; where a whole round of all procedures would take longer, fewer evaluations are timed."""


class PublishedProcedure(nn.Module):
    """The published sampler's work per evaluation: every token through every block, every modulation per token."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, layout: StepLayout, tokens: Tensor, t: Tensor, actions: Tensor, position: Tensor) -> Tensor:
        """v of all tokens (B, N, C), noised to the times `t` (B, N) that they stand at."""
        model = self.denoiser
        condition = model.level(layout.cell_level) + model.action(actions)[:, layout.cell_frame]
        condition = condition[:, layout.token_cell] + model.time(t)
        x = model.from_latents(tokens) + position
        for block in model.transformer.blocks:
            x, _ = block.conditioned(x, condition)
        shift, scale = model.modulation(condition).chunk(2, -1)
        return model.to_latents(torch.addcmul(shift, model.norm(x), 1 + scale))


@dataclass
class Workload:
    """One step of the plan: its tokens, and weights that act on them. All random, since only time is measured."""

    size: str
    runtime: Runtime
    compiled: bool
    level: int = 0

    def __post_init__(self) -> None:
        device = self.runtime.device
        torch.manual_seed(0)
        step = next(step for step in PLAN.steps if step.group == self.level)
        self.layout = StepLayout.of(step, LEVELS, device)
        self.context = torch.randn(1, self.layout.num_context_tokens, CHANNELS, device=device)
        self.noise = torch.randn(1, self.layout.num_tokens, CHANNELS, device=device)
        self.actions = torch.zeros(1, len(self.layout.frames), dtype=torch.long, device=device)
        self.denoisers = {mode: self._denoiser(mode) for mode in ("joint", "isolated")}
        self.published = PublishedProcedure(self.denoisers["joint"])
        self.published_forward: Callable[..., Tensor] = self.published
        if self.compiled:
            self.published_forward = torch.compile(self.published, dynamic=False)
            for denoiser in self.denoisers.values():
                denoiser.transformer.compile_blocks()

    def _denoiser(self, mode: str) -> Denoiser:
        torch.manual_seed(0)
        denoiser = Denoiser(CHANNELS, LEVELS.num_levels, SIZES[self.size], "discrete", 3, mode)  # type: ignore[arg-type]
        for parameter in denoiser.parameters():
            # Zero-initialised layers would let denormal or zero numbers through, whose speed is not that of real ones.
            nn.init.normal_(parameter, std=0.02)
        return self.runtime.place(denoiser).eval().requires_grad_(False)

    @torch.no_grad()
    def publish(self, nfe: int) -> Tensor:
        """(a) with `nfe` evaluations."""
        schedule, layout, split = NoiseSchedule(), self.layout, self.layout.num_context_tokens
        frames = layout.frames[layout.cell_frame][layout.token_cell]
        position = position_3d(frames, layout.token_row, layout.token_column, self.published.denoiser.dim)
        context_eps, target_eps = self.noise.split([split, layout.num_target_tokens], 1)

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            context = add_noise(schedule, self.context, context_eps, torch.zeros_like(t))
            times = torch.cat([t.new_zeros(1, split), t[:, None].expand(1, layout.num_target_tokens)], 1)
            tokens = torch.cat([context, x_t], 1)
            return self.published_forward(layout, tokens, times, self.actions, position)[:, split:]

        with self.runtime.autocast():
            return ddim(schedule, nfe, denoise, target_eps)

    @torch.no_grad()
    def ours(self, mode: str, sampling: Sampling) -> Tensor:
        """(j), (b) or (c)."""
        with self.runtime.autocast():
            return sample_step(
                self.denoisers[mode],
                NoiseSchedule(),
                self.layout,
                self.context,
                self.actions,
                self.noise,
                sampling,
            )


def flops(size: TransformerSize, procedure: str, nfe: int, layout: StepLayout) -> float:
    """FLOPs of one step: linear layers, attention and modulation; a product and a sum are two."""
    total, target = layout.num_tokens, layout.num_target_tokens
    context = total - target
    weights = 4 * size.dim**2 + 2 * size.mlp_ratio * size.dim**2
    modulation = 6 * size.dim**2

    def block(queries: int, keys: int) -> float:
        return 2 * weights * queries + 4 * size.dim * queries * keys

    if procedure == "published":
        return nfe * size.depth * (block(total, total) + 2 * modulation * total)
    cells = len(layout.cell_level)
    if procedure == "joint":
        last = block(target, total) + 4 * size.dim**2 * context
        return nfe * ((size.depth - 1) * block(total, total) + last + 2 * modulation * cells * size.depth)
    prepare = (size.depth - 1) * block(context, context) + 4 * size.dim**2 * context
    return prepare + nfe * size.depth * block(target, total) + 2 * modulation * cells * size.depth * (1 + nfe)


def token_evaluations(procedure: str, nfe: int, layout: StepLayout) -> int:
    """Tokens through the transformer in one step."""
    context, target = layout.num_context_tokens, layout.num_target_tokens
    return context + nfe * target if procedure == "isolated" else nfe * (context + target)


def ceiling(runtime: Runtime, dim: int, seconds: float = 1.0) -> float:
    """FLOP/s of the plain matrix product of the MLP's first layer over all tokens of a step, the best of many."""
    dtype = torch.bfloat16 if runtime.bf16 else torch.float32
    a = torch.randn(3840, dim, device=runtime.device, dtype=dtype)
    b = torch.randn(dim, 4 * dim, device=runtime.device, dtype=dtype)
    best, started = math.inf, time.perf_counter()
    while time.perf_counter() - started < seconds:
        with timed(runtime) as took:
            for _ in range(4):
                a @ b
        best = min(best, took[0] / 4)
    return 2 * 3840 * dim * 4 * dim / best


@contextmanager
def timed(runtime: Runtime) -> Iterator[list[float]]:
    """Seconds that the block takes, in the list it yields, once it ends."""
    took = [0.0]
    synchronise(runtime)
    started = time.perf_counter()
    yield took
    synchronise(runtime)
    took[0] = time.perf_counter() - started


def tell(text: str) -> None:
    """A line of progress on stderr, at once even through a pipe."""
    print(text, file=sys.stderr, flush=True)


def synchronise(runtime: Runtime) -> None:
    """Wait for the GPU, if it is one."""
    if runtime.device.type == "cuda":
        torch.cuda.synchronize(runtime.device)


def reset_peak(runtime: Runtime) -> None:
    """Forget the highest memory so far, of the GPU or, on Linux, of the process."""
    if runtime.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(runtime.device)
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib(runtime: Runtime) -> float:
    """The highest memory since `reset_peak`, in MiB: allocated on the GPU, or resident of the process."""
    if runtime.device.type == "cuda":
        return torch.cuda.max_memory_allocated(runtime.device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def fastest(device: torch.device) -> Runtime:
    """bf16 where its matrix product is faster than that of fp32."""
    runtimes = [Runtime(device, bf16) for bf16 in (False, True)]
    return max(runtimes, key=lambda runtime: ceiling(runtime, 384, 0.5))


@torch.no_grad()
def decoding_seconds(size: str, runtime: Runtime, frames: int) -> float:
    """Seconds to decode one frame, `frames` at once."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(LEVELS, CHANNELS, SIZES[size], SIZES[size])
    tokenizer = runtime.place(tokenizer).eval().requires_grad_(False)
    latents = torch.randn(frames, *LEVELS.grid(0), CHANNELS, device=runtime.device)
    with runtime.autocast():
        tokenizer.decode(latents)
        with timed(runtime) as took:
            tokenizer.decode(latents)
    return took[0] / frames


def measure(size: str, runtime: Runtime, arguments: argparse.Namespace) -> dict[str, object]:
    """Time all procedures at one size, in alternating rounds."""
    work = Workload(size, runtime, arguments.compile)
    shape, layout = SIZES[size], work.layout
    nfe = {"published": PUBLISHED_NFE, "joint": PUBLISHED_NFE, "isolated": PUBLISHED_NFE, "few": arguments.nfe}
    runs: dict[str, Callable[[int], Tensor]] = {
        "published": work.publish,
        "joint": lambda count: work.ours("joint", Sampling(count, "ddim")),
        "isolated": lambda count: work.ours("isolated", Sampling(count, "ddim")),
        "few": lambda count: work.ours("isolated", Sampling(count, "dpm_solver")),
    }
    if arguments.quick:
        del runs["joint"]
    for name, procedure in runs.items():
        tell(f"{size} {name}: warm-up")
        procedure(2)  # and compilation
    timed_nfe = dict(nfe)
    if arguments.quick:
        with timed(runtime) as took:
            work.publish(2)
        whole = took[0] / 2 * PUBLISHED_NFE * 1.4 * arguments.rounds
        # Every evaluation of (a) costs the same: where 50 are too many for the time given, fewer are timed and scaled.
        timed_nfe["published"] = max(2, min(PUBLISHED_NFE, int(PUBLISHED_NFE * QUICK_SECONDS / whole)))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    peak = {}
    for number in range(1, arguments.rounds + 1):
        for name, procedure in runs.items():
            tell(f"{size} {name}: round {number} of {arguments.rounds}, {timed_nfe[name]} evaluations")
            reset_peak(runtime)
            with timed(runtime) as took:
                procedure(timed_nfe[name])
            seconds[name].append(took[0] * nfe[name] / timed_nfe[name])
            peak[name] = peak_mib(runtime)
            tell(f"{size} {name}: {seconds[name][-1]:.2f} s a step")
    tell(f"{size}: matrix product and decoding")
    best = ceiling(runtime, shape.dim)
    decoding = decoding_seconds(size, runtime, arguments.decoded)
    steps = len(PLAN.steps) / PLAN.advance
    report: dict[str, object] = {}
    for name, values in seconds.items():
        kind = "isolated" if name == "few" else name
        middle = statistics.median(values)
        work_done = flops(shape, kind, nfe[name], layout)
        report[name] = {
            "sampler": "dpm_solver" if name == "few" else "ddim",
            "nfe": nfe[name],
            "evaluations_timed": timed_nfe[name],
            "seconds_per_step": middle,
            "seconds_per_step_all": values,
            "frames_per_second": 1 / (steps * middle),
            "frames_per_second_with_decoding": 1 / (steps * middle + decoding),
            "token_evaluations_per_frame": token_evaluations(kind, nfe[name], layout) * steps,
            "flops_per_frame": work_done * steps,
            "share_of_ceiling": work_done / middle / best,
            "peak_mib": peak[name],
        }

    def ratio(slow: str, fast: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))

    report |= {
        "ratio_equal_nfe": ratio("published", "isolated"),
        "ratio": ratio("published", "few"),
        "matrix_product_flops_per_second": best,
        "decoding_seconds_per_frame": decoding,
    }
    if "joint" in seconds:
        report["ratio_joint"] = ratio("published", "joint")
    return report


def profile(size: str, runtime: Runtime, arguments: argparse.Namespace) -> str:
    """Where the time of (a) and of (c) goes: tables of the most expensive operations."""
    work = Workload(size, runtime, arguments.compile)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if runtime.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    key = "self_cuda_time_total" if runtime.device.type == "cuda" else "self_cpu_time_total"
    tables = []
    runs: list[tuple[str, Callable[[], Tensor]]] = [
        ("(a) published, 2 evaluations", lambda: work.publish(2)),
        ("(c) isolated, 12 evaluations", lambda: work.ours("isolated", Sampling(12, "dpm_solver"))),
    ]
    for title, run in runs:
        run()
        with torch.profiler.profile(activities=activities) as found:
            run()
        tables.append(f"{title}\n{found.key_averages().table(sort_by=key, row_limit=14, max_name_column_width=40)}")
    return "\n".join(tables)


def main() -> None:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=list(SIZES), default=["S"], help="(default: S)")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="alternating rounds (default: 3)")
    parser.add_argument("--nfe", type=at_least(2), default=12, help="evaluations of (c) (default: 12)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["32", "bf16", "fastest"], default="fastest")
    parser.add_argument("--compile", action="store_true", help="torch.compile, for all procedures alike")
    parser.add_argument("--decoded", type=at_least(1), default=16, help="frames decoded at once (default: 16)")
    parser.add_argument("--quick", action="store_true", help="size S without (j), under 8 minutes on 2 cores")
    parser.add_argument("--profile", action="store_true", help="print a profile of one step instead")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.precision == "fastest":
        tell("choosing the precision")
    runtime = fastest(device) if arguments.precision == "fastest" else Runtime(device, arguments.precision == "bf16")
    if arguments.profile:
        print("\n".join(profile(size, runtime, arguments) for size in arguments.size))
        return
    if arguments.quick:
        arguments.size = ["S"]
    results: dict[str, object] = {
        "machine": runtime.machine,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "precision": "bf16" if runtime.bf16 else "32",
        "compiled": arguments.compile,
        "plan": "coarse_to_fine, windows 3/12/48/192, E 768, N0 256",
        "rounds": arguments.rounds,
        "sizes": {size: measure(size, runtime, arguments) for size in arguments.size},
    }
    first = results["sizes"][arguments.size[0]]  # type: ignore[index]
    results |= {name: first[name] for name in ("ratio_equal_nfe", "ratio")}
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
