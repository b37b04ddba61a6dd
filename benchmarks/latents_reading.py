"""How fast training steps are read from latent shards: the published plan on 1024-frame episodes of 4 levels.

    python benchmarks/latents_reading.py --workers 0 1 2 --json reading.json

The set lies in the page cache after writing, so this measures the code and the copies, not the disk.
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from mstv.data.latent_shards import LatentSample, write_latent_shard
from mstv.data.latents import LatentsDataModule
from mstv.data.schema import MANIFEST, ActionSpec, Episode, LatentEpisode, Manifest, Source
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine

LEVELS = Levels((256, 256), (16, 16), 4)
CHANNELS, NUM_FRAMES = 32, 1024
PLAN = CoarseToFine([3, 12, 48, 192], extra_context_tokens=768)
ACTIONS = ActionSpec(kind="discrete", names=("forward", "left", "right"))


def write_set(folder: Path, num_episodes: int, levels: Levels = LEVELS) -> None:
    """One shard of random latents."""
    rng = np.random.default_rng(0)
    samples = (
        LatentSample(
            record=LatentEpisode(
                episode=Episode(
                    key=f"episode-{index}",
                    fps=20,
                    num_frames=NUM_FRAMES,
                    height=levels.image_size[0],
                    width=levels.image_size[1],
                    source=Source(engine="benchmark", world=str(index)),
                    actions=ACTIONS,
                ),
                num_frames=NUM_FRAMES,
            ),
            levels=[
                rng.random((NUM_FRAMES, *levels.grid(level), CHANNELS), np.float32).astype(np.float16)
                for level in range(levels.num_levels)
            ],
            actions=ACTIONS.null(NUM_FRAMES),
        )
        for index in range(num_episodes)
    )
    shard = write_latent_shard(folder / "train-000000.tar", samples)
    Manifest(
        kind="latents",
        fps=20,
        image_size=levels.image_size,
        actions=ACTIONS,
        shards=(shard,),
        patch_size=levels.patch_size,
        num_levels=levels.num_levels,
        latent_channels=CHANNELS,
    ).write(folder / MANIFEST)


def measure(folder: Path, num_workers: int, batch_size: int, num_batches: int) -> dict[str, float]:
    """Batches a second after the first, which starts the workers."""
    data = LatentsDataModule(folder, PLAN, LEVELS, batch_size, num_workers, epoch_batches=num_batches)
    data.setup("fit")
    batches = iter(data.train_dataloader())
    next(batches)
    start = time.perf_counter()
    num_bytes = sum(batch.tokens.numel() * 2 for batch in batches)
    seconds = time.perf_counter() - start
    data.teardown("fit")
    return {
        "workers": num_workers,
        "batches_per_second": round((num_batches - 1) / seconds, 1),
        "samples_per_second": round((num_batches - 1) * batch_size / seconds, 1),
        "megabytes_per_second": round(num_bytes / seconds / 1e6, 1),
    }


def main() -> None:
    """Measure and print; write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder), arguments.episodes)
        results = [
            measure(Path(folder), workers, arguments.batch_size, arguments.batches) for workers in arguments.workers
        ]
    report = {
        "benchmark": "latents_reading",
        "machine": platform.processor() or platform.machine(),
        "tokens_per_sample": PLAN.plan(LEVELS.num_tokens(0)).num_tokens[-1],
        "batch_size": arguments.batch_size,
        "results": results,
    }
    print(json.dumps(report, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
