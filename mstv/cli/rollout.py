"""`mstv rollout`: long videos generated from context frames and the recorded actions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mstv.cli.arguments import at_least, guidance, protocol

if TYPE_CHECKING:
    from mstv.cli.rollout_job import RolloutJob

GLOSSARY = """\
words:
  level       0 is the finest grid of tokens of a frame; each further one has a quarter of the tokens
  step        the tokens of some frames and levels are shown (context), others are generated (targets)
  chunk       the steps that extend the video once; chunk after chunk it grows to any length
  evaluation  one run of the denoiser; NFE is their number per step
  protocol    which frames are given and generated; its results, of one set of settings, are in RUN/evaluation/NAME

--protocol NAME takes one of the above, which sets --context and --end, or any other name for settings of your own. Of
the settings only --context and --end enter the default name: give --protocol to keep several. The same command goes on
where an earlier one was stopped. On one machine, with the same --batch-size, --end and number of processes, it gives
the same bits as one that was not stopped; otherwise latents agree to about 2e-5.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command, which `mstv evaluate` shares."""
    from mstv.cli.runtime import add_runtime_arguments
    from mstv.diffusion.sampler import SAMPLERS
    from mstv.evaluation.protocols import CONTEXT_FRAMES, END_FRAME, protocols_help

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{protocols_help()}\n{GLOSSARY}"
    parser.add_argument("run", type=Path, help="run directory of a diffusion training")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint (default: the run's checkpoints/last.ckpt)")
    parser.add_argument("--latents", type=Path, help="latent shards (default: those that the run was trained on)")
    parser.add_argument("--frames", type=Path, help="frame shards (default: those that the latents were made from)")
    parser.add_argument("--split", choices=["train", "validation", "test"], default="test", help="(default: test)")
    parser.add_argument(
        "--episodes", type=at_least(1), default=8, metavar="N", help="first N episodes of the split (default: 8)"
    )
    parser.add_argument(
        "--context",
        type=at_least(1),
        metavar="N",
        help=f"recorded frames that the video begins with (default: the protocol's, or {CONTEXT_FRAMES})",
    )
    parser.add_argument(
        "--end",
        type=int,
        metavar="N",
        help="generate up to this frame; beyond the recording there are null actions (default: the protocol's, or "
        f"{END_FRAME})",
    )
    parser.add_argument(
        "--nfe",
        type=int,
        nargs="+",
        default=[50],
        metavar="N",
        help="denoiser evaluations per step: one number, or one for each target level, finest first (default: 50)",
    )
    parser.add_argument(
        "--sampler",
        choices=sorted(SAMPLERS),
        default="ddim",
        help="ddim: published; dpm_solver: second order, for few evaluations, such as 12 (default: ddim)",
    )
    parser.add_argument(
        "--guidance",
        type=guidance,
        default=1.0,
        metavar="S",
        help="scale of context and actions, v_u + S (v - v_u): 0 leaves them out, 1 is plain conditioning, more "
        "overstates them; other than 1 doubles the evaluations, and wants a model trained with drop_probability > 0 "
        "(default: 1)",
    )
    parser.add_argument(
        "--refresh",
        type=int,
        default=1,
        metavar="K",
        help="joint attention: K evaluations share the context's keys and values; 1 is exact (default: 1)",
    )
    parser.add_argument(
        "--context-noise",
        type=float,
        default=0.0,
        metavar="T",
        help="noise the context to time T in [0, 1): 0 is clean, near 1 is noise alone; for a model trained with "
        "context_noise of at least T (default: 0)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    parser.add_argument(
        "--batch-size", type=at_least(1), default=8, metavar="N", help="episodes generated at once (default: 8)"
    )
    parser.add_argument(
        "--level-videos",
        type=at_least(0),
        default=8,
        metavar="N",
        help="first N episodes of which each coarser level of the rollout is decoded alone, too, as a video beside the "
        "others; more may be asked for later; 0: none (default: 8)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile the denoiser: a minute first, then faster on GPUs"
    )
    parser.add_argument(
        "--protocol",
        type=protocol,
        metavar="NAME",
        help="a protocol by name, see below, or a name for own settings: letters, digits, - and _; the results' folder "
        "has it, too (default: context<N>-end<N>)",
    )
    add_runtime_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Generate what is not there yet."""
    from mstv.cli.generation import roll_out
    from mstv.cli.level_videos import write_level_videos
    from mstv.cli.rollout_preparation import prepared

    with prepared(arguments) as job:
        there = all(map(job.videos_complete, job.keys)) and not job.lacking_level_videos()
        roll_out(job)
        write_level_videos(job)
    print(f"{job.folder}: {'already there: ' if there else ''}{_summary(job)}")
    return 0


def _summary(job: RolloutJob) -> str:
    """How many videos of how many frames there are; recorded ones may be shorter."""
    count, end = len(job.keys), job.card.end_frame
    videos = f"{count} video{'s' * (count != 1)} of {end} frames"
    recorded = sorted({job.num_recorded(key) for key in job.keys})
    if not recorded or recorded[0] >= end:
        return f"{videos} (generated, truth, side_by_side)"
    last = f"{recorded[0]} to {recorded[-1]}" if len(recorded) > 1 else recorded[0]
    return f"{videos} (generated); truth and side_by_side end with the recording, after {last} frames"
