"""`mstv plan`: numbers and a picture of a plan."""

import argparse
from pathlib import Path

from mstv.rollout.families import FAMILIES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("family", choices=sorted(FAMILIES), help="plan family")
    parser.add_argument("--windows", type=int, nargs="+", help="coarse_to_fine: w_0 ... w_{L-1}, in frames")
    parser.add_argument("--extra-context-tokens", type=int, default=0, help="coarse_to_fine: E (default: 0)")
    parser.add_argument("--num-frames", type=int, help="full_resolution: frames of a chunk")
    parser.add_argument("--base-num-tokens", type=int, default=256, help="N0, tokens of level 0 (default: 256)")
    parser.add_argument("--out", type=Path, help="picture to write (.png, .pdf, .svg)")


def run(arguments: argparse.Namespace) -> int:
    """Print the plan's numbers and, on request, draw it."""
    from mstv.data.schema import atomic_path
    from mstv.errors import UserError
    from mstv.rollout.families import family_from_dict

    needed = {"coarse_to_fine": "windows", "full_resolution": "num_frames"}[arguments.family]
    if getattr(arguments, needed) is None:
        raise UserError(f"plan {arguments.family} needs --{needed.replace('_', '-')}")
    values = {"family": arguments.family, needed: getattr(arguments, needed)}
    if arguments.family == "coarse_to_fine":
        values["extra_context_tokens"] = arguments.extra_context_tokens
    if arguments.out and arguments.out.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"--out {arguments.out}: must end in .png, .pdf or .svg")
    plan = family_from_dict(values).plan(arguments.base_num_tokens)
    evaluations = sum(plan.num_tokens) / plan.advance
    print(f"{len(plan.steps)} steps advance {plan.advance} frames; needs {plan.first_target_frame} frames of context")
    tokens = f"{min(plan.num_tokens)}..{max(plan.num_tokens)}"
    print(f"tokens per step {tokens}; {evaluations:.0f} token evaluations per frame and NFE")
    if arguments.out:
        from mstv.rollout.draw import draw_plan

        with atomic_path(arguments.out) as temporary:
            draw_plan(plan, temporary, arguments.out.suffix[1:])
        print(arguments.out)
    return 0
