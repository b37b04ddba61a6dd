"""`mstv rollout`: long videos generated from context frames and the recorded actions."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from mstv.cli.runtime import Runtime
    from mstv.data.latent_shards import LatentStore
    from mstv.data.results import Card
    from mstv.data.schema import Manifest
    from mstv.diffusion.module import DiffusionModule
    from mstv.tokenizer.tokenizer import Tokenizer

SAVE_SECONDS = 10.0
"""What an interrupt loses at most of a rollout, besides one step."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command, which `mstv evaluate` shares."""
    from mstv.cli.runtime import add_runtime_arguments

    parser.add_argument("run", type=Path, help="run directory of a diffusion training")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint (default: the run's checkpoints/last.ckpt)")
    parser.add_argument("--latents", type=Path, help="latent shards (default: those that the run was trained on)")
    parser.add_argument("--frames", type=Path, help="frame shards (default: those that the latents were made from)")
    parser.add_argument("--split", choices=["train", "validation", "test"], default="test", help="(default: test)")
    parser.add_argument("--episodes", type=int, default=8, help="first N episodes of the split (default: 8)")
    parser.add_argument("--context", type=int, default=256, help="ground-truth frames of context (default: 256)")
    parser.add_argument(
        "--end", type=int, default=1024, help="generate up to this frame of the episode (default: 1024)"
    )
    parser.add_argument("--nfe", type=int, default=50, help="denoiser evaluations per step (default: 50)")
    parser.add_argument("--guidance", type=float, default=1.0, help="guidance scale; 1 is none (default: 1)")
    parser.add_argument("--sampler", choices=["ddim"], default="ddim", help="(default: ddim)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    parser.add_argument("--batch-size", type=int, default=8, help="episodes generated at once (default: 8)")
    parser.add_argument("--protocol", help="name of the results' folder (default: context<N>-end<N>)")
    add_runtime_arguments(parser)


@dataclass
class RolloutJob:
    """A rollout as asked for: the model, the data, and where results go."""

    folder: Path
    card: Card
    module: DiffusionModule
    tokenizer: Tokenizer
    store: LatentStore
    frames_folder: Path
    frames: Manifest
    batch_size: int
    runtime: Runtime

    @property
    def latents_folder(self) -> Path:
        """Generated level-0 latents, float32 (end, rows, columns, C), one .npy an episode."""
        return self.folder / "latents"

    def latents_path(self, key: str) -> Path:
        """File of one episode's generated latents; it exists when the episode is complete."""
        return self.latents_folder / f"{key}.npy"


def run(arguments: argparse.Namespace) -> int:
    """Generate what is not there yet."""
    job = prepare(arguments)
    roll_out(job)
    print(
        f"{job.folder}: {job.card.num_episodes} videos of {job.card.end_frame} frames (generated, truth, side_by_side)"
    )
    return 0


def prepare(arguments: argparse.Namespace) -> RolloutJob:
    """Load the model and the data and write the metric card, or find it as an earlier try wrote it.

    Raises:
        UserError: whatever does not fit, before anything is generated.
    """
    import torch
    import yaml

    from mstv.cli.checkpoints import resolve_checkpoint
    from mstv.cli.runtime import runtime_of
    from mstv.data.latent_shards import LatentStore
    from mstv.data.results import CONFIG, Card, MetricNote, PlanNote, begin_evaluation, evaluation_folder
    from mstv.data.schema import TOKENIZER_COPY, read_manifest
    from mstv.diffusion.module import load_diffusion
    from mstv.errors import UserError
    from mstv.rollout.families import family_to_dict
    from mstv.tokenizer.module import load_tokenizer

    runtime = runtime_of(arguments)
    for name, lowest in (("episodes", 1), ("context", 1), ("nfe", 2), ("batch_size", 1)):
        if getattr(arguments, name) < lowest:
            raise UserError(f"--{name.replace('_', '-')} must be at least {lowest}, got {getattr(arguments, name)}")
    if arguments.end <= arguments.context:
        raise UserError(f"--end {arguments.end} must lie beyond --context {arguments.context}")
    if not arguments.run.is_dir():
        raise UserError(f"{arguments.run}: no such run directory")
    checkpoint = resolve_checkpoint(arguments.checkpoint or arguments.run)
    module, checkpoint_sha256 = load_diffusion(checkpoint)
    if arguments.latents is None:
        config = arguments.run / CONFIG
        if not config.is_file():
            raise UserError(f"{config}: is missing, so that the run does not tell its latents: give --latents")
        arguments.latents = Path(yaml.safe_load(config.read_text())["data"]["init_args"]["folder"])
        if not arguments.latents.is_dir():
            raise UserError(
                f"{config}: field data.init_args.folder is {arguments.latents}, not a folder seen from here: "
                "give --latents"
            )
    store = LatentStore(arguments.latents)
    assert store.manifest.tokenizer is not None
    if store.levels != module.levels:
        raise UserError(f"{arguments.latents}: has {store.levels}, {checkpoint} was trained on {module.levels}")
    tokenizer, tokenizer_sha256 = load_tokenizer(arguments.latents / TOKENIZER_COPY)
    if tokenizer_sha256 != store.manifest.tokenizer.sha256:
        raise UserError(f"{arguments.latents / TOKENIZER_COPY}: is not the tokenizer of the manifest: encode again")
    frames_folder = arguments.frames or arguments.latents / (store.manifest.source or "")
    frames = read_manifest(frames_folder, "frames")
    if frames.sha256 != store.manifest.source_sha256:
        raise UserError(f"{frames_folder}: is not the set that {arguments.latents} was encoded from: give --frames")
    keys = _episodes(store, arguments)
    plan = module.plan
    plan.chunks(arguments.context, end=arguments.end)
    values = family_to_dict(module.family)
    protocol = arguments.protocol or f"context{arguments.context}-end{arguments.end}"
    card = Card(
        protocol=protocol,
        protocol_version=1,
        split=arguments.split,
        context_frames=arguments.context,
        end_frame=arguments.end,
        num_episodes=len(keys),
        episodes=tuple(keys),
        seed=arguments.seed,
        sampler=arguments.sampler,
        nfe=arguments.nfe,
        guidance=arguments.guidance,
        plan=PlanNote(family=values.pop("family"), parameters=values),
        max_tokens_per_step=max(plan.num_tokens),
        token_evaluations_per_frame=sum(plan.num_tokens)
        / plan.advance
        * arguments.nfe
        * (1 if arguments.guidance == 1 else 2),
        metrics=(
            MetricNote(name="psnr", aggregation="mean of per-frame PSNR in dB; pooled beside it"),
            MetricNote(name="ssim", aggregation="mean of per-frame SSIM"),
        ),
        ground_truth=("raw", "decoded"),
        image_size=store.levels.image_size,
        fps=store.manifest.fps,
        checkpoint=checkpoint.name,
        checkpoint_sha256=checkpoint_sha256,
        tokenizer_sha256=tokenizer_sha256,
        data_sha256=frames.sha256,
        machine=runtime.machine,
        torch_version=torch.__version__,
    )
    folder = evaluation_folder(arguments.run, protocol)
    begin_evaluation(folder, card)
    module.to(runtime.device)
    tokenizer.to(runtime.device)
    return RolloutJob(folder, card, module, tokenizer, store, frames_folder, frames, arguments.batch_size, runtime)


def roll_out(job: RolloutJob) -> None:
    """Generate, decode and write the episodes that are not complete yet."""
    from mstv.progress import progress

    keys = [key for key in job.card.episodes if not _videos_complete(job, key)]
    batches = [keys[start : start + job.batch_size] for start in range(0, len(keys), job.batch_size)]
    with progress("steps") as bar:
        for batch in batches:
            missing = [key for key in batch if not job.latents_path(key).is_file()]
            if missing:
                _generate(job, missing, bar)
            for key in batch:
                _write_videos(job, key)


def decode(job: RolloutJob, latents: Tensor) -> Tensor:
    """Frames (T, 3, H, W) in [0, 1] fp32 on the CPU, from level-0 latents (T, rows, columns, C)."""
    import torch

    frames = []
    with torch.inference_mode(), job.runtime.autocast():
        for part in latents.split(64):
            frames.append(job.tokenizer.decode(part.to(job.runtime.device)).float().cpu())
    return torch.cat(frames)


def to_uint8(frames: Tensor) -> np.ndarray:
    """(T, 3, H, W) in [0, 1] to uint8 (T, H, W, 3)."""
    return (frames * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _episodes(store: LatentStore, arguments: argparse.Namespace) -> list[str]:
    from mstv.errors import UserError

    keys = store.keys(arguments.split)[: arguments.episodes]
    if not keys:
        raise UserError(f"{store.folder}: split {arguments.split} is empty: choose --split, or shard more worlds")
    if len(keys) < arguments.episodes:
        print(
            f"split {arguments.split} has {len(keys)} episodes, not {arguments.episodes}: all are used", file=sys.stderr
        )
    shortest = min(keys, key=store.num_frames)
    if store.num_frames(shortest) < arguments.context:
        raise UserError(
            f"--context {arguments.context}: episode {shortest} has {store.num_frames(shortest)} frames: give less"
        )
    if store.num_frames(shortest) < arguments.end:
        raise UserError(
            f"--end {arguments.end}: episode {shortest} has {store.num_frames(shortest)} frames, and beyond them there "
            "is nothing to score against: give less"
        )
    return keys


def _generate(job: RolloutJob, keys: list[str], bar: object) -> None:
    """Roll out a batch of episodes and write their level-0 latents; an interrupted batch goes on where it was."""
    import numpy as np
    import torch
    from rich.progress import Progress

    from mstv.data.schema import atomic_path
    from mstv.rollout.generate import Rollout, RolloutState

    assert isinstance(bar, Progress)
    card, device = job.card, job.runtime.device

    def stacked(arrays: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(arrays))

    actions = None
    if job.store.actions_spec.kind != "none":
        rows = [job.store.actions(key) for key in keys]
        shortest = min(len(row) for row in rows if row is not None)
        actions = stacked([row[:shortest] for row in rows if row is not None])
        actions = actions if actions.is_floating_point() else actions.long()
    rollout = Rollout(job.module.plan, job.module.levels, card.context_frames, card.end_frame, keys, actions, card.seed)
    partial = job.latents_folder / ".partial.pt"
    state = None
    if partial.is_file():
        saved = torch.load(partial, map_location=device, weights_only=True)
        if saved["keys"] == keys:
            state = RolloutState(saved["latents"], saved["num_done"])
    if state is None:
        context = slice(0, card.context_frames)
        state = rollout.begin(
            [
                stacked([job.store.read(key, level, context) for key in keys]).float().to(device)
                for level in range(job.store.levels.num_levels)
            ]
        )
    task = bar.add_task(f"rollout of {len(keys)} episodes", total=rollout.num_steps, completed=state.num_done)
    sample = job.module.step_sampler(card.nfe, card.guidance, card.sampler)
    saved_at = time.monotonic()
    with job.runtime.autocast():
        # The state is one object, changed in place.
        for _ in rollout.run(state, sample):
            bar.advance(task)
            if time.monotonic() - saved_at > SAVE_SECONDS:
                with atomic_path(partial) as temporary:
                    torch.save({"keys": keys, "latents": state.latents, "num_done": state.num_done}, temporary)
                saved_at = time.monotonic()
    for index, key in enumerate(keys):
        with atomic_path(job.latents_path(key)) as temporary, temporary.open("wb") as file:
            np.save(file, state.latents[0][index, : card.end_frame].cpu().numpy(), allow_pickle=False)
    partial.unlink(missing_ok=True)


def _video_paths(job: RolloutJob, key: str) -> dict[str, Path]:
    from mstv.data.results import TRUTH, VIDEOS

    return {name: job.folder / name / f"{key}.mp4" for name in (VIDEOS, TRUTH, "side_by_side")}


def _videos_complete(job: RolloutJob, key: str) -> bool:
    return job.latents_path(key).is_file() and all(path.is_file() for path in _video_paths(job, key).values())


def _write_videos(job: RolloutJob, key: str) -> None:
    """Generated, true, and both beside each other (truth left) with the sides at least 128 pixels high."""
    import numpy as np
    import torch

    from mstv.data.schema import atomic_path
    from mstv.data.shards import read_episode_frames
    from mstv.data.video import encode_video

    generated = to_uint8(decode(job, torch.from_numpy(np.load(job.latents_path(key), allow_pickle=False))))
    truth = read_episode_frames(job.frames_folder, job.frames, key)[0][: job.card.end_frame]
    zoom = max(1, -(-128 // truth.shape[1]))
    beside = np.concatenate([truth, generated], 2).repeat(zoom, 1).repeat(zoom, 2)
    for path, frames in zip(_video_paths(job, key).values(), (generated, truth, beside), strict=True):
        with atomic_path(path) as temporary:
            encode_video(frames, temporary, job.card.fps)
