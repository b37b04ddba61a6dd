"""`mstv plan-training`: what a training takes, before it is started."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mstv.cli.arguments import at_least
from mstv.errors import OneLineParser

if TYPE_CHECKING:
    from rich.table import Table

    from mstv.cli.target_device import TargetDevice
    from mstv.cli.training_estimate import TrainingEstimate

_EPILOG = """\
All other options are those of `mstv fit`, above all -c experiments/X.yaml, which may be given several times; nothing
is trained, and no data need be there. Exit code 1 if the training does not fit into the memory of a GPU.

example:
  mstv plan-training -c experiments/published/diffusion.yaml --gpu H100 --gpus 8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command itself."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "mstv plan-training -c YAML [-c YAML ...] [--gpu NAME] [--gpus N] [options of mstv fit]"
    parser.epilog = _EPILOG
    parser.add_argument("--gpu", help="such as H200 or 'RTX 4090' (default: this machine's, or its CPU)")
    parser.add_argument(
        "--gpus", type=at_least(1), help="of all nodes (default: the trainer's devices x num_nodes, or 1)"
    )
    parser.add_argument("--gpu-memory", type=_positive, help="GiB of one GPU (default: as published)")
    parser.add_argument(
        "--utilisation",
        type=_positive,
        default=0.4,
        help="share of the GPU's published peak that the training reaches (default: 0.4, an assumption)",
    )
    parser.add_argument(
        "--tokens-per-second", type=_positive, help="of all GPUs, as `mstv fit` shows them, instead of an assumption"
    )
    parser.add_argument(
        "--latent-channels", type=at_least(1), default=32, help="of latents that are not there yet (default: 32)"
    )
    parser.add_argument(
        "--num-actions", type=at_least(0), default=3, help="ids of their actions, 0 for none (default: 3)"
    )


def run(arguments: Sequence[str]) -> int:
    """Print one table, what it rests on and, if the training does not fit, with what it would."""
    parser = OneLineParser(prog="mstv plan-training", description=__doc__.partition(": ")[2])
    add_arguments(parser)
    options, fit_options = parser.parse_known_args(arguments)

    from rich.console import Console

    from mstv.cli.fit import quiet_lightning
    from mstv.cli.target_device import TargetDevice
    from mstv.cli.training_estimate import TrainingEstimate
    from mstv.cli.training_setup import TrainingSetup

    quiet_lightning()
    latents = {"latent_channels": options.latent_channels, "num_actions": options.num_actions}
    setup = TrainingSetup.read(fit_options, options.gpus, **latents)
    device = TargetDevice.of(options.gpu, setup.precision, options.gpu_memory, options.tokens_per_second is None)
    estimate = TrainingEstimate(setup)
    console = Console()
    console.print(_table(estimate, device, options.utilisation, options.tokens_per_second))
    for line in _assumptions(estimate, device, options.utilisation, options.tokens_per_second):
        console.print(f"- {line}", highlight=False, markup=False)
    needed = estimate.memory.total
    if needed <= device.memory:
        return 0
    console.print(f"\nIt does not fit: {_gib(needed)} of {_gib(device.memory)}.", highlight=False)
    alternatives = estimate.alternatives(device.memory)
    console.print("With the same global batch it fits with:" if alternatives else "Not even a batch of 1 fits.")
    for fitting, total in alternatives.items():
        console.print(f"  {fitting}   ({_gib(total)})", highlight=False, markup=False)
    return 1


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value


def step_seconds(
    estimate: TrainingEstimate, device: TargetDevice, utilisation: float, tokens_per_second: float | None
) -> float:
    """Of a step of the optimiser."""
    if tokens_per_second is not None:
        return estimate.tokens / tokens_per_second
    # Blocks that are computed twice: four passes' worth of work where three are counted.
    repeated = 4 / 3 if estimate.setup.checkpoints_activations else 1.0
    return repeated * estimate.flops / (estimate.setup.num_gpus * utilisation * device.flops)


def _table(
    estimate: TrainingEstimate, device: TargetDevice, utilisation: float, tokens_per_second: float | None
) -> Table:
    from rich.table import Table
    from rich.text import Text

    setup, memory = estimate.setup, estimate.memory
    muon, adamw = (estimate.parameters[name] for name in ("muon", "adamw"))
    seconds = step_seconds(estimate, device, utilisation, tokens_per_second)
    per_gpu = f"{setup.batch_size} x {setup.accumulated} accumulated" if setup.accumulated > 1 else setup.batch_size
    steps = setup.max_steps
    rows = {
        "model": estimate.description,
        "parameters": f"{_count(muon + adamw)}: {_count(muon)} in matrices by Muon, {_count(adamw)} by AdamW",
        "on": f"{setup.num_gpus} x {device.name}, {setup.strategy}, {setup.precision.name}",
        "batch": f"{estimate.samples:,} ({per_gpu} on each)",
        "tokens a step": f"{estimate.tokens:,.0f}",
        "work a step": f"{estimate.flops / 1e12:,.4g} TFLOP",
        "time a step": f"{seconds:.3g} s ({estimate.tokens / seconds:,.0f} tokens/s)",
        "steps": f"{steps:,}" if steps > 0 else "max_steps is not set",
        "hours": _hours(seconds * steps) if steps > 0 else "unknown",
        "memory of each": f"{_gib(memory.total)} of {_gib(device.memory)}",
        "  weights": _gib(memory.weights),
        "  optimiser": _gib(memory.optimiser),
        "  averaged weights": _gib(memory.averages),
        "  exchange of gradients": _gib(memory.exchanged),
        "  activations, gradients": _gib(memory.step),
        "  libraries, unusable": _gib(memory.total - memory.tensors),
    }
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(Text(name), Text(value))
    return table


def _assumptions(
    estimate: TrainingEstimate, device: TargetDevice, utilisation: float, tokens_per_second: float | None
) -> list[str]:
    from mstv.cli.training_estimate import FRAGMENTATION

    setup = estimate.setup
    lines = []
    if tokens_per_second is None:
        lines.append(
            f"time: {utilisation:.0%} of {device.peak} is assumed; data wait, validation and rollouts come on top"
        )
    if setup.checkpoints_activations and tokens_per_second is None:
        lines.append("time: a third more for what activation checkpointing computes again")
    lines.append(
        "memory: the real loss was run on tensors without values at this batch and precision; attention without a "
        "matrix of scores"
    )
    lines.append(
        f"memory: assumed are {FRAGMENTATION:.0%} that the allocator cannot use and {_gib(estimate.memory.libraries)} "
        "for CUDA and communication; validation and rollouts are not counted"
    )
    if setup.compiled:
        lines.append("memory: compiled blocks keep less than is counted here")
    return lines


def _count(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1e6 else f"{number:,}"


def _gib(number: int) -> str:
    gibibytes = number / 2**30
    return f"{gibibytes:,.2f} GiB" if gibibytes < 10 else f"{gibibytes:,.1f} GiB"


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.3g}" if hours < 100 else f"{hours:,.0f} ({hours / 24:,.1f} days)"
