"""`mstv evaluate`: rollouts scored against horizon, with both bounds."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from mstv.cli.rollout import add_arguments

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from jaxtyping import Int

    from mstv.cli.rollout_job import RolloutJob

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Generate what is missing, score what is not scored, and write the table, the files and the plot."""
    from rich.console import Console

    from mstv.cli.generation import roll_out
    from mstv.cli.rollout_preparation import prepared
    from mstv.cli.runtime import Rank
    from mstv.compare.comparison import Comparison
    from mstv.compare.contact_sheet import contact_sheet
    from mstv.compare.plot import plot_curves
    from mstv.compare.score_table import score_tables
    from mstv.data.results import (
        REVISIT_FILE,
        SUMMARY,
        begin_evaluation,
        merge_scores,
        summarise,
        write_episode_scores,
        write_revisits,
    )
    from mstv.errors import UserError
    from mstv.progress import progress

    if Rank.of_environment().count > 1:
        raise UserError("evaluate runs in one process: first `mstv rollout` on all ranks, then evaluate without them")
    with prepared(arguments, scored=True) as job:
        scored = begin_evaluation(job.folder, job.card)
        there = len(scored) == job.card.num_episodes and (job.folder / SUMMARY).is_file()
        started = time.monotonic()
        fresh = not any(job.latents_path(key).is_file() for key in job.card.episodes)
        roll_out(job)
        # A resumed rollout has no honest wall clock.
        seconds = time.monotonic() - started if fresh else None
        if not there:
            with progress("episodes") as bar:
                task = bar.add_task("scoring", total=job.card.num_episodes, completed=len(scored))
                for key in job.card.episodes:
                    if key not in scored:
                        write_episode_scores(job.folder, key, score_episode(job, key))
                        bar.advance(task)
            merge_scores(job.folder)
        if not (job.folder / REVISIT_FILE).is_file():
            write_revisits(job.folder, earliest_views(job), job.card.context_frames)
        if not there:
            summarise(job.folder, seconds)
        for path, draw in ((job.folder / "curves.png", plot_curves), (job.folder / "contact_sheet.png", contact_sheet)):
            if not there or not path.is_file():
                draw(job.folder, path)
    for table in score_tables(Comparison.read([arguments.run], job.card.protocol)):
        Console().print(table.for_terminal())
    print(f"{job.folder}{': already there' if there else ''}")
    return 0


def earliest_views(job: RolloutJob) -> dict[str, Int[np.ndarray, " T"]]:
    """For each episode with poses, the earliest frame with the pose of each of its frames, up to the end."""
    from mstv.data.revisits import Tolerance, first_seen

    poses = {key: job.store.poses(key) for key in job.card.episodes}
    return {
        key: first_seen(known[: job.card.end_frame], Tolerance()) for key, known in poses.items() if known is not None
    }


def score_episode(job: RolloutJob, key: str) -> pa.Table:
    """Per-frame scores of one episode: the rollout, decoded true latents and shuffled true latents."""
    import numpy as np
    import pyarrow as pa
    import torch

    from mstv.data.results import GroundTruth, Series, episode_scores
    from mstv.data.shards import read_episode_frames
    from mstv.keyed_random import keyed_generator
    from mstv.metrics import frame_psnr, frame_ssim

    start, end = job.card.context_frames, job.card.end_frame
    generated = job.decode(torch.from_numpy(job.latents(key)[start:].copy()))
    decoded = job.decode(torch.from_numpy(job.store.read(key, 0, slice(start, end))).float())
    raw = torch.from_numpy(read_episode_frames(job.frames_folder, job.frames, key)[0][start:end])
    raw = raw.permute(0, 3, 1, 2).float() / 255
    order = torch.randperm(end - start, generator=keyed_generator(job.card.seed, "shuffled", key))
    videos: dict[Series, torch.Tensor] = {"generated": generated, "upper_bound": decoded, "lower_bound": decoded[order]}
    frame = np.arange(start, end)
    tables = []
    truths: dict[GroundTruth, torch.Tensor] = {"raw": raw, "decoded": decoded}
    for truth_name, truth in truths.items():
        for series, video in videos.items():
            # Decoded truth against itself says nothing.
            if truth_name == "decoded" and series == "upper_bound":
                continue
            for metric, measure in (("psnr", frame_psnr), ("ssim", frame_ssim)):
                values = measure(video[None], truth[None])[0].numpy()
                tables.append(episode_scores(key, frame, frame - start + 1, metric, truth_name, series, values))
    return pa.concat_tables(tables)
