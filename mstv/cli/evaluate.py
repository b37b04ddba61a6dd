"""`mstv evaluate`: rollouts scored against horizon, with both bounds."""

from __future__ import annotations

import argparse
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mstv.cli import rollout

if TYPE_CHECKING:
    from mstv.cli.rollout_job import RolloutJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `mstv rollout`, and what is measured."""
    from mstv.evaluation.metric_set import METRICS, default_metrics

    rollout.add_arguments(parser)
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=METRICS,
        metavar="NAME",
        help=f"what to measure: {', '.join(METRICS)}; added to what the evaluation has (default: what it has, or first "
        f"{' '.join(default_metrics())})",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FOLDER",
        help="public weights that lpips, dino, fid and fvd need, under their public names, see docs/metrics.md",
    )
    parser.add_argument(
        "--inverse-dynamics",
        type=Path,
        metavar="RUN",
        help="measure how well rollouts follow their actions, too: a run of experiments/inverse_dynamics.yaml, whose "
        "model tells actions from frames",
    )
    parser.add_argument(
        "--wandb",
        action=argparse.BooleanOptionalAction,
        help="log the results to the run's W&B run, too (default: where the training logged to W&B or trackio)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Generate what is missing, score what is not scored, and write the table, the files and the plot."""
    from mstv.cli.action_following import ActionFollowing
    from mstv.cli.generation import roll_out
    from mstv.cli.level_videos import write_level_videos
    from mstv.cli.rollout_preparation import prepared
    from mstv.cli.runtime import Rank
    from mstv.cli.scoring import Scoring, load_metrics
    from mstv.cli.signs_of_life import living

    rank = Rank.of_environment()
    loaded = load_metrics(arguments.metrics, arguments.weights) if arguments.metrics else None
    with prepared(arguments, scored=True) as job, living(job.folder, rank):
        following = ActionFollowing.begin(job, arguments.inverse_dynamics) if arguments.inverse_dynamics else None
        scoring = Scoring.begin(job, loaded, arguments.weights, following)
        started = time.monotonic()
        # A resumed rollout has no honest wall clock, nor has one that ranks shared.
        seconds = time.monotonic() - started if roll_out(job) and rank.count == 1 else None
        scoring.score_own()
        write_level_videos(job)
        if rank.index:
            count = f"{len(job.keys)} episode{'s' * (len(job.keys) != 1)}"
            print(f"{job.folder}: rank {rank.index} has scored its {count}; rank 0 merges")
            return 0
        scoring.wait_for_others(rank)
        scoring.finish(seconds)
        _write_revisits(job)
        _draw(job.folder, anew=not scoring.there)
    _print_tables(arguments.run, job.card.protocol)
    _track(arguments.run, job.card.protocol, arguments.wandb)
    print(f"{job.folder}{': already there' if scoring.there else ''}")
    return 0


def _write_revisits(job: RolloutJob) -> None:
    """Once; a file of an earlier version is written anew."""
    from mstv.data.results import REVISIT_FILE, read_revisits, write_revisits
    from mstv.errors import UserError
    from mstv.evaluation.revisit_scoring import recognisable_revisits

    with suppress(UserError):
        read_revisits(job.folder)
        if (job.folder / REVISIT_FILE).is_file():
            return
    card, found = job.card, {}
    for key in card.episodes:
        poses = job.store.poses(key)
        found[key] = recognisable_revisits(None if poses is None else poses[: card.end_frame], card.context_frames)
    write_revisits(job.folder, found)


def _draw(folder: Path, anew: bool) -> None:
    from mstv.compare.contact_sheet import contact_sheet
    from mstv.compare.plot import plot_curves

    for path, draw in ((folder / "curves.png", plot_curves), (folder / "contact_sheet.png", contact_sheet)):
        if anew or not path.is_file():
            draw(folder, path)


def _track(run: Path, protocol: str, wanted: bool | None) -> None:
    from mstv.cli.evaluation_tracking import track

    track(run, protocol, wanted)


def _print_tables(run: Path, protocol: str) -> None:
    """Those against recorded frames, and the revisits by the first metric; there are many."""
    from rich.console import Console

    from mstv.compare.action_table import action_tables
    from mstv.compare.comparison import Comparison
    from mstv.compare.revisit_table import revisit_tables
    from mstv.compare.score_table import score_tables

    comparison = Comparison.read([run], protocol)
    for table in score_tables(comparison):
        if table.ground_truth != "decoded":
            Console().print(table.for_terminal())
    for revisits in revisit_tables(comparison):
        if revisits.metric == comparison.metrics[0]:
            Console().print(revisits.for_terminal())
    for actions in action_tables(comparison):
        Console().print(actions.for_terminal())
    print(f"all tables, and a page with intervals, curves and videos: mstv compare {run} --protocol {protocol}")
