"""`mstv rollout`: long videos generated from context frames and the recorded actions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mstv.cli.rollout_job import RolloutJob
    from mstv.data.latent_shards import LatentStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command, which `mstv evaluate` shares."""
    from mstv.cli.runtime import add_runtime_arguments
    from mstv.diffusion.sampler import SAMPLERS

    parser.add_argument("run", type=Path, help="run directory of a diffusion training")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint (default: the run's checkpoints/last.ckpt)")
    parser.add_argument("--latents", type=Path, help="latent shards (default: those that the run was trained on)")
    parser.add_argument("--frames", type=Path, help="frame shards (default: those that the latents were made from)")
    parser.add_argument("--split", choices=["train", "validation", "test"], default="test", help="(default: test)")
    parser.add_argument("--episodes", type=int, default=8, help="first N episodes of the split (default: 8)")
    parser.add_argument("--context", type=int, default=256, help="ground-truth frames of context (default: 256)")
    parser.add_argument(
        "--end",
        type=int,
        default=1024,
        help="generate up to this frame; beyond the recording there are null actions (default: 1024)",
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
    parser.add_argument("--guidance", type=float, default=1.0, help="guidance scale; 1 is none (default: 1)")
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
        help="time in [0, 1) of context (default: 0, clean)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    parser.add_argument("--batch-size", type=int, default=8, help="episodes generated at once (default: 8)")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile the denoiser: a minute first, then faster on GPUs"
    )
    parser.add_argument("--protocol", help="name of the results' folder (default: context<N>-end<N>)")
    add_runtime_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Generate what is not there yet."""
    from mstv.cli.generation import roll_out

    job = prepare(arguments)
    roll_out(job)
    print(f"{job.folder}: {len(job.keys)} videos of {job.card.end_frame} frames (generated, truth, side_by_side)")
    return 0


def prepare(arguments: argparse.Namespace, scored: bool = False) -> RolloutJob:
    """Load the model and the data and write the metric card, or find it as an earlier try wrote it.

    Args:
        arguments: of the command line.
        scored: whether the frames will be scored, so that all of them must have been recorded.

    Raises:
        UserError: whatever does not fit, before anything is generated.
    """
    import torch
    import yaml

    from mstv.cli.checkpoints import resolve_checkpoint
    from mstv.cli.rollout_job import RolloutJob
    from mstv.cli.runtime import Rank, runtime_of
    from mstv.data.latent_shards import LatentStore
    from mstv.data.results import CONFIG, Card, MetricNote, PlanNote, begin_evaluation, evaluation_folder
    from mstv.data.schema import TOKENIZER_COPY, read_manifest
    from mstv.diffusion.module import load_diffusion
    from mstv.diffusion.sample_step import Sampling
    from mstv.errors import UserError
    from mstv.rollout.families import family_to_dict
    from mstv.tokenizer.module import load_tokenizer

    runtime = runtime_of(arguments)
    for name, lowest in (("episodes", 1), ("context", 1), ("batch_size", 1)):
        if getattr(arguments, name) < lowest:
            raise UserError(f"--{name.replace('_', '-')} must be at least {lowest}, got {getattr(arguments, name)}")
    nfe = arguments.nfe[0] if len(arguments.nfe) == 1 else tuple(arguments.nfe)
    sampling = Sampling(nfe, arguments.sampler, arguments.guidance, arguments.refresh, arguments.context_noise)
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
    keys = _episodes(store, arguments, scored)
    plan = module.plan
    plan.chunks(arguments.context, end=arguments.end)
    for step in plan.steps:
        sampling.evaluations([cell.level for cell in step.targets])
    values = family_to_dict(module.family)
    merged = module.family.merged_plan(module.levels.num_tokens(0))
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
        sampler=sampling.sampler,
        nfe=nfe,
        guidance=sampling.guidance,
        context_refresh=sampling.refresh,
        context_noise=sampling.context_noise,
        plan=PlanNote(family=values.pop("family"), parameters=values),
        attention=module.denoiser.attention,
        max_tokens_per_step=max(merged.num_tokens),
        token_evaluations_per_frame=sampling.token_evaluations(merged, module.denoiser.attention),
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
    if arguments.compile:
        module.denoiser.compile_blocks()
    rank = Rank.of_environment()
    return RolloutJob(
        folder=folder,
        card=card,
        keys=tuple(keys[rank.index :: rank.count]),
        sampling=sampling,
        module=runtime.place(module),
        tokenizer=runtime.place(tokenizer),
        store=store,
        frames_folder=frames_folder,
        frames=frames,
        batch_size=arguments.batch_size,
        runtime=runtime,
    )


def _episodes(store: LatentStore, arguments: argparse.Namespace, scored: bool) -> list[str]:
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
    if (recorded := store.num_frames(shortest)) < arguments.end:
        beyond = f"--end {arguments.end} lies beyond the {recorded} recorded frames of episode {shortest}"
        if scored:
            raise UserError(f"{beyond}, where there is nothing to score against: give at most {recorded}")
        print(f"{beyond}: it goes on with null actions", file=sys.stderr)
    return keys
