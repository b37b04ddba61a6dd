"""`mstv plan`: what the plans of experiments cost, and their picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from mstv.cli.experiment import Experiment
    from mstv.rollout.cost import PlanCost

_WORDS = """\
in an experiment:
  plan:
    class_path: mstv.rollout.coarse_to_fine.CoarseToFine
    init_args: {windows: [2, 8, 32], extra_context_tokens: 32}

rows of the table:
  step             some cells (frame, level) are shown as context, others, its targets, are generated
  chunk            the steps that extend the video once
  NFE              evaluations of the denoiser per step; guidance doubles them
  memory horizon   how many frames before its first target a step's context reaches
  token evaluations per frame
                   tokens through the transformer, over all steps and evaluations, per generated frame
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    from mstv.cli.experiment import layers

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _families()
    parser.add_argument(
        "experiments",
        nargs="+",
        type=layers,
        metavar="EXPERIMENT",
        help="YAML of a diffusion experiment, config.yaml of a run, or layers A.yaml+B.yaml, which are merged as by "
        "`mstv fit -c A.yaml -c B.yaml`",
    )
    parser.add_argument("--nfe", type=int, default=50, help="denoiser evaluations per step (default: 50)")
    parser.add_argument("--out", type=Path, help="picture to write (.png, .pdf, .svg)")
    parser.add_argument("--max-steps", type=int, default=40, help="steps of each plan in the picture (default: 40)")


def run(arguments: argparse.Namespace) -> int:
    """Print one table of all experiments' plans and, on request, draw one plan beside another."""
    from rich.console import Console

    from mstv.cli.experiment import Experiment
    from mstv.data.output_file import PDF, PNG, SVG, check_output
    from mstv.data.schema import atomic_path
    from mstv.errors import UserError

    for name, lowest in (("nfe", 2), ("max_steps", 1)):
        if getattr(arguments, name) < lowest:
            raise UserError(f"--{name.replace('_', '-')} must be at least {lowest}, got {getattr(arguments, name)}")
    if arguments.out:
        check_output(arguments.out, [PNG, PDF, SVG])
    experiments = [Experiment.read(paths) for paths in arguments.experiments]
    costs = [cost_of(experiment, arguments.nfe) for experiment in experiments]
    titles = distinct(arguments.experiments)
    if arguments.out:
        from mstv.rollout.draw import draw_plans

        plans = [(title, cost.plan) for title, cost in zip(titles, costs, strict=True)]
        with atomic_path(arguments.out) as temporary:
            draw_plans(plans, temporary, arguments.out.suffix[1:].lower(), arguments.max_steps)
    console = Console()
    console.print(cost_table(titles, experiments, costs))
    if arguments.out:
        console.print(arguments.out, highlight=False, markup=False)
    return 0


def _families() -> str:
    """The plan families, their parameters, and how an experiment names one, for `--help`."""
    from dataclasses import MISSING, fields

    from mstv.rollout.families import FAMILIES

    lines = ["plan families and their init_args (what they do: README, `A plan`):"]
    for kind in FAMILIES.values():
        arguments = [
            f"{field.name}{'' if field.type is int else ' [one a level]'}{'' if field.default is MISSING else ' (0)'}"
            for field in fields(kind)  # type: ignore[arg-type]
        ]
        module = kind.__module__.removeprefix("mstv.rollout.")
        lines.append(f"  {f'{module}.{kind.__name__}':<32} {', '.join(arguments)}")
    return "\n".join([*lines, "", _WORDS])


def cost_of(experiment: Experiment, nfe: int) -> PlanCost:
    """Cost of an experiment's plan at `nfe` evaluations per step."""
    from mstv.rollout.cost import PlanCost

    size = experiment.size
    plan = experiment.family.merged_plan(experiment.levels.num_tokens(0))
    return PlanCost(plan, size.dim, size.depth, experiment.attention, nfe, size.mlp_ratio)


def distinct(experiments: Sequence[Sequence[Path]]) -> list[str]:
    """Short names of experiments: the stems of their layers, or the whole paths where stems are equal."""
    short = ["+".join(path.stem for path in paths) for paths in experiments]
    return short if len(set(short)) == len(short) else ["+".join(map(str, paths)) for paths in experiments]


def cost_table(titles: Sequence[str], experiments: Sequence[Experiment], costs: Sequence[PlanCost]) -> Table:
    """One column an experiment."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("", no_wrap=True)
    for title in titles:
        table.add_column(Text(title), justify="right", overflow="fold")
    columns = [_column(experiment, cost) for experiment, cost in zip(experiments, costs, strict=True)]
    for name in columns[0]:
        table.add_row(name, *(Text(column[name]) for column in columns))
    return table


def _column(experiment: Experiment, cost: PlanCost) -> dict[str, str]:
    """Names and values of an experiment's rows."""
    from mstv.rollout.families import family_to_dict

    family, *parameters = family_to_dict(experiment.family).items()
    return {
        "plan": family[1],
        "parameters": "\n".join(f"{name} {_plain(value)}" for name, value in parameters),
        "tokens per frame, by level": " ".join(map(str, experiment.levels.tokens_per_level)),
        "levels that the plan leaves out": " ".join(map(str, _unused_levels(experiment))) or "none",
        "width, blocks": f"{cost.dim}, {cost.depth}",
        "attention": cost.attention,
        "evaluations per step (NFE)": str(cost.nfe),
        "steps per chunk": str(cost.num_steps),
        "frames per chunk": str(cost.frames),
        "frames of context needed": str(cost.plan.first_target_frame),
        "tokens per step": _span(cost.num_tokens),
        "of which targets": _span(cost.num_target_tokens),
        "memory horizon, frames": _span(cost.memory),
        "token evaluations per frame": f"{cost.token_evaluations:,.0f}",
        "attention per frame": _flops(cost.attention_flops),
        "linear layers per frame": _flops(cost.linear_flops),
    }


def _unused_levels(experiment: Experiment) -> list[int]:
    """Levels that no step shows or denoises."""
    steps = experiment.family.plan(experiment.levels.num_tokens(0)).steps
    used = {cell.level for step in steps for cell in step.cells}
    return [level for level in range(experiment.levels.num_levels) if level not in used]


def _plain(value: int | list[int]) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _span(span: tuple[int, int]) -> str:
    low, high = span
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _flops(flops: float) -> str:
    """With three digits that count."""
    prefix, scale = next((pair for pair in (("P", 1e15), ("T", 1e12), ("G", 1e9)) if flops >= pair[1]), ("M", 1e6))
    value = flops / scale
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} {prefix}FLOP"
