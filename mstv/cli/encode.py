"""`mstv encode`: latent shards of a set of frame shards."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    from mstv.cli.runtime import add_runtime_arguments

    parser.add_argument("frames", type=Path, help="folder of frame shards (see `mstv-data shard`)")
    parser.add_argument("latents", type=Path, help="folder to write latent shards into")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer checkpoint, or its run directory")
    parser.add_argument("--batch-frames", type=int, default=256, help="frames encoded at once (default: 256)")
    add_runtime_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Encode every episode; tars that are done stay, so that the same command resumes."""
    import numpy as np
    import torch

    from mstv.checkpoint import read_checkpoint, write_weights
    from mstv.cli.checkpoints import resolve_checkpoint
    from mstv.cli.runtime import runtime_of
    from mstv.data.latent_shards import LatentSample, write_latent_shard
    from mstv.data.location import Location
    from mstv.data.schema import (
        MANIFEST,
        TOKENIZER_COPY,
        LatentEpisode,
        Manifest,
        Shard,
        TokenizerSource,
        atomic_path,
        file_sha256,
        read_manifest,
    )
    from mstv.data.shards import read_episode_frames
    from mstv.errors import UserError
    from mstv.progress import progress
    from mstv.tokenizer.module import KIND, load_tokenizer

    runtime = runtime_of(arguments)
    frames_folder = Location.of(arguments.frames).local_folder("frames to encode")
    folder = arguments.latents
    source = read_manifest(frames_folder, "frames")
    checkpoint = resolve_checkpoint(arguments.tokenizer)
    tokenizer, sha256 = load_tokenizer(checkpoint)
    if tokenizer.levels.image_size != source.image_size:
        raise UserError(
            f"{checkpoint}: encodes frames of {tokenizer.levels.image_size}, "
            f"{frames_folder} holds {source.image_size}: train a tokenizer on this size"
        )
    if arguments.batch_frames < 1:
        raise UserError(f"--batch-frames must be at least 1, got {arguments.batch_frames}")
    tokenizer.to(runtime.device)

    identity = {"tokenizer": sha256, "frames": source.sha256, "precision": arguments.precision}
    if _finished(folder, sha256, source.sha256):
        print(f"{folder}: already encoded with this tokenizer, nothing to do")
        return 0
    done = _begin(folder, identity)
    config, state, _ = read_checkpoint(checkpoint, KIND)
    with atomic_path(folder / TOKENIZER_COPY) as temporary:
        write_weights(temporary, KIND, config, state)

    @torch.inference_mode()
    def samples(shard: Shard) -> Iterator[LatentSample]:
        for key in shard.episodes:
            video, actions, poses, episode = read_episode_frames(frames_folder, source, key)
            parts: list[list[np.ndarray]] = []
            for start in range(0, len(video), arguments.batch_frames):
                batch = torch.from_numpy(video[start : start + arguments.batch_frames]).to(runtime.device)
                with runtime.autocast():
                    levels = tokenizer.encode(batch.permute(0, 3, 1, 2).float() / 255)
                parts.append([level.float().cpu().numpy().astype(np.float16) for level in levels])
                bar.advance(task, len(batch))
            levels_ = [np.concatenate(level) for level in zip(*parts, strict=True)]
            yield LatentSample(LatentEpisode(episode=episode, num_frames=len(video)), levels_, actions, poses)

    with progress("frames") as bar:
        task = bar.add_task("encoding", total=sum(shard.num_frames for shard in source.shards))
        for shard in source.shards:
            note = done / f"{shard.name}.json"
            if note.is_file() and (folder / shard.name).is_file():
                bar.advance(task, shard.num_frames)
                continue
            written = write_latent_shard(folder / shard.name, samples(shard))
            with atomic_path(note) as temporary:
                temporary.write_text(written.model_dump_json())
    shards = tuple(Shard.model_validate_json((done / f"{s.name}.json").read_text()) for s in source.shards)
    Manifest(
        kind="latents",
        fps=source.fps,
        image_size=source.image_size,
        actions=source.actions,
        shards=shards,
        patch_size=tokenizer.levels.patch_size,
        num_levels=tokenizer.levels.num_levels,
        latent_channels=tokenizer.latent_channels,
        tokenizer=TokenizerSource(
            checkpoint=checkpoint.name, sha256=sha256, copy_sha256=file_sha256(folder / TOKENIZER_COPY)
        ),
        source=os.path.relpath(frames_folder, folder),
        source_sha256=source.sha256,
    ).write(folder / MANIFEST)
    shutil.rmtree(done)
    print(f"{folder}: {sum(s.num_samples for s in shards)} episodes, {sum(s.num_frames for s in shards)} frames")
    return 0


def _finished(folder: Path, tokenizer_sha256: str, frames_sha256: str) -> bool:
    from mstv.data.schema import MANIFEST, read_manifest

    if not (folder / MANIFEST).is_file():
        return False
    manifest = read_manifest(folder, "latents")
    assert manifest.tokenizer is not None
    return manifest.tokenizer.sha256 == tokenizer_sha256 and manifest.source_sha256 == frames_sha256


def _begin(folder: Path, identity: dict[str, str]) -> Path:
    """Folder of the notes on finished tars; what another tokenizer or another set of frames left is removed."""
    from mstv.data.schema import MANIFEST, atomic_path
    from mstv.errors import UserError

    done = folder / ".encode"
    known = done / "identity.json"
    if (folder / MANIFEST).is_file() or not known.is_file() or json.loads(known.read_text()) != identity:
        foreign = folder.is_dir() and any(path.suffix != ".tar" and path.name[0] != "." for path in folder.iterdir())
        if foreign and not (folder / MANIFEST).is_file() and not known.is_file():
            raise UserError(f"{folder}: holds other files: give a new or empty folder for the latents")
        if folder.is_dir() and any(folder.glob("*.tar")):
            print(f"{folder}: encoded from other inputs, encoding again", file=sys.stderr)
        # The manifest goes first: it must never stand beside tars that it does not describe.
        if folder.is_dir():
            (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(done, ignore_errors=True)
        for tar in folder.glob("*.tar"):
            tar.unlink()
        with atomic_path(known) as temporary:
            temporary.write_text(json.dumps(identity))
    return done
