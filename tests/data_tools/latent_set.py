"""A tiny set of latents, made without a tokenizer."""

from pathlib import Path

import numpy as np

from mstv.data.schema import (
    MANIFEST,
    TOKENIZER_COPY,
    Chunk,
    LatentEpisode,
    Manifest,
    Shard,
    TokenizerSource,
    file_sha256,
    read_manifest,
)
from mstv.data.shards import npy_bytes, read_samples, write_shard


def tiny_latents(shards: Path, folder: Path) -> Path:
    """Latents of two levels and three channels for the one test episode of 32x48 frame shards, patch size 4."""
    frames = read_manifest(shards, "frames")
    episode = Chunk.parse(next(read_samples(shards / "test-000000.tar"))[1]["json"], "x").episode
    num_frames = episode.num_frames
    rng = np.random.default_rng(0)
    members = {
        "level0.npy": npy_bytes(rng.random((num_frames, 8, 12, 3)).astype(np.float16)),
        "level1.npy": npy_bytes(rng.random((num_frames, 4, 6, 3)).astype(np.float16)),
        "actions.npy": npy_bytes(rng.integers(0, 3, num_frames).astype(np.int16)),
        "poses.npy": npy_bytes(rng.random((num_frames, 5), np.float32)),
        "json": LatentEpisode(episode=episode, num_frames=num_frames).to_bytes(),
    }
    num_samples, num_bytes, sha256 = write_shard(folder / "test-000000.tar", [(episode.key, members)])
    shard = Shard(
        name="test-000000.tar",
        num_samples=num_samples,
        num_frames=num_frames,
        num_bytes=num_bytes,
        sha256=sha256,
        episodes={episode.key: num_frames},
        worlds=(episode.source.world,),
    )
    (folder / TOKENIZER_COPY).write_bytes(b"weights")
    Manifest(
        kind="latents",
        fps=frames.fps,
        image_size=frames.image_size,
        actions=frames.actions,
        shards=(shard,),
        patch_size=(4, 4),
        num_levels=2,
        latent_channels=3,
        tokenizer=TokenizerSource(
            checkpoint="t.ckpt", sha256="a" * 64, copy_sha256=file_sha256(folder / TOKENIZER_COPY)
        ),
    ).write(folder / MANIFEST)
    return folder
