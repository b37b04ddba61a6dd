"""What each coarse level of a rollout shows alone: videos made of the latents that it kept."""

import torch

from mstv.cli.rollout_job import DECODED_AT_ONCE, RolloutJob, to_uint8
from mstv.data.schema import atomic_path
from mstv.data.video import VideoWriter
from mstv.progress import progress


def write_level_videos(job: RolloutJob) -> None:
    """Decode the coarse levels of the episodes that are to be shown so, as far as it is not done.

    It is apart from generating, whose speed is measured, and which plans of one level would else do faster.

    Raises:
        UserError: latents that are missing, damaged or of another size.
    """
    lacking, end = job.lacking_level_videos(), job.card.end_frame
    if not lacking:
        return
    with progress("frames") as bar:
        task = bar.add_task("levels", total=len(lacking) * end)
        for key, level in lacking:
            path = job.latents_path(key, level).with_suffix(".mp4")
            with atomic_path(path) as temporary, VideoWriter(temporary, job.card.fps) as video:
                for first in range(0, end, DECODED_AT_ONCE):
                    # Mapped anew each time: pages of a mapping that stays would add up in memory.
                    latents = torch.from_numpy(job.latents(key, level)[first : first + DECODED_AT_ONCE].copy())
                    for frame in to_uint8(job.decode(latents, level)):
                        video.write(frame)
                    bar.advance(task, len(latents))
