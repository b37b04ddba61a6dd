"""From the command line of `mstv rollout` and `mstv evaluate` to the job: all that can be wrong is found here."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from mstv.cli.checkpoints import resolve_checkpoint
from mstv.cli.experiment import read_yaml
from mstv.cli.rollout_job import LATENTS, VIDEO_FOLDERS, RolloutJob
from mstv.cli.runtime import Rank, runtime_of
from mstv.data.latent_shards import LatentStore
from mstv.data.results import (
    CONFIG,
    RECORD,
    Card,
    PlanNote,
    TrainingRecord,
    begin_evaluation,
    evaluation_folder,
    level_folder,
)
from mstv.data.schema import TOKENIZER_COPY, read_manifest
from mstv.data.temporary_files import sweep
from mstv.data.write_locks import held
from mstv.diffusion.module import DiffusionModule, load_diffusion
from mstv.diffusion.sample_step import Sampling
from mstv.errors import UserError
from mstv.evaluation.protocols import Settings, settings_of
from mstv.rollout.families import family_to_dict
from mstv.tokenizer.module import load_tokenizer


@contextmanager
def prepared(arguments: argparse.Namespace, scored: bool = False) -> Iterator[RolloutJob]:
    """Load the model and the data, write the metric card, or find it as an earlier try wrote it, and hold the episodes.

    What killed processes left half-written is removed.

    Args:
        arguments: of the command line.
        scored: whether the frames will be scored, so that all of them must have been recorded.

    Raises:
        UserError: whatever does not fit, or another process that writes there, before anything is generated.
    """
    runtime = runtime_of(arguments)
    nfe = arguments.nfe[0] if len(arguments.nfe) == 1 else tuple(arguments.nfe)
    sampling = Sampling(nfe, arguments.sampler, arguments.guidance, arguments.refresh, arguments.context_noise)
    settings = settings_of(arguments.protocol, arguments.context, arguments.end)
    if arguments.run.is_file():
        raise UserError(
            f"{arguments.run}: is a file: give the run directory {arguments.run.resolve().parents[1]}, "
            f"with --checkpoint {arguments.run} if it is not the last one"
        )
    if not arguments.run.is_dir():
        raise UserError(f"{arguments.run}: no such run directory")
    checkpoint = resolve_checkpoint(arguments.checkpoint or arguments.run)
    module, checkpoint_sha256 = load_diffusion(checkpoint)
    if arguments.latents is None:
        arguments.latents = _latents_of(arguments.run / CONFIG)
    store = LatentStore(arguments.latents)
    assert store.manifest.tokenizer is not None
    if store.levels != module.levels:
        raise UserError(f"{arguments.latents}: has {store.levels}, {checkpoint} was trained on {module.levels}")
    tokenizer, tokenizer_sha256 = load_tokenizer(arguments.latents / TOKENIZER_COPY)
    if tokenizer_sha256 != store.manifest.tokenizer.sha256:
        raise UserError(f"{arguments.latents / TOKENIZER_COPY}: is not the tokenizer of the manifest: encode again")
    _check_trained_on(checkpoint, arguments.latents, tokenizer_sha256)
    frames_folder = arguments.frames or arguments.latents / (store.manifest.source or "")
    if arguments.frames is None and not frames_folder.is_dir():
        raise UserError(f"{arguments.latents}: was made from {frames_folder}, which is not there: give --frames")
    frames = read_manifest(frames_folder, "frames")
    if frames.sha256 != store.manifest.source_sha256:
        raise UserError(f"{frames_folder}: is not the set that {arguments.latents} was encoded from: give --frames")
    plan = module.plan
    if settings.protocol:
        settings.protocol.check_plan(plan.first_target_frame)
    keys = _episodes(store, arguments, settings, scored)
    plan.chunks(settings.context_frames, end=settings.end_frame)
    _check_sampling(sampling, module)
    values = family_to_dict(module.family)
    merged = module.family.merged_plan(module.levels.num_tokens(0))
    card = Card(
        protocol=settings.name,
        protocol_version=settings.version,
        split=arguments.split,
        context_frames=settings.context_frames,
        end_frame=settings.end_frame,
        num_episodes=len(keys),
        episodes=tuple(keys),
        seed=arguments.seed,
        sampler=sampling.sampler,
        nfe=nfe,
        guidance=sampling.guidance,
        context_refresh=sampling.refresh,
        context_noise=sampling.context_noise,
        plan=PlanNote(family=values.pop("family"), parameters=values),
        coarse_levels=plan.coarse_levels,
        attention=module.denoiser.attention,
        max_tokens_per_step=max(merged.num_tokens),
        token_evaluations_per_frame=sampling.token_evaluations(merged, module.denoiser.attention),
        metrics=(),
        ground_truth=("raw", "decoded"),
        image_size=store.levels.image_size,
        fps=store.manifest.fps,
        checkpoint=checkpoint.name,
        checkpoint_sha256=checkpoint_sha256,
        tokenizer_sha256=tokenizer_sha256,
        data_sha256=frames.sha256,
        latents_sha256=store.manifest.sha256,
        precision=runtime.precision,
        compiled=arguments.compile,
        machine=runtime.machine,
        torch_version=torch.__version__,
    )
    folder = evaluation_folder(arguments.run, settings.name)
    card = card.model_copy(update={"coarse_levels": begin_evaluation(folder, card).coarse_levels})
    rank = Rank.of_environment()
    mine = range(rank.index, len(keys), rank.count)
    with held(folder, "give another name with --protocol", mine):
        for part in (".", LATENTS, *VIDEO_FOLDERS):
            sweep(folder / part)
        for level in card.coarse_levels:
            sweep(level_folder(folder, level))
        if arguments.compile:
            module.compile_blocks()
        yield RolloutJob(
            folder=folder,
            card=card,
            keys=tuple(keys[position] for position in mine),
            sampling=sampling,
            module=runtime.place(module),
            tokenizer=runtime.place(tokenizer),
            store=store,
            frames_folder=frames_folder,
            frames=frames,
            batch_size=arguments.batch_size,
            num_level_videos=arguments.level_videos,
            runtime=runtime,
        )


def _latents_of(config: Path) -> Path:
    """The latents that a run was trained on."""
    if not config.is_file():
        raise UserError(f"{config}: is missing, so that the run does not tell its latents: give --latents")
    try:
        folder = Path(read_yaml(config)["data"]["init_args"]["folder"])
    except UserError as error:
        raise UserError(f"{config}: {error}, or give --latents") from None
    except (KeyError, TypeError):
        raise UserError(f"{config}: field data.init_args.folder is missing: give --latents") from None
    if not folder.is_dir():
        raise UserError(
            f"{config}: field data.init_args.folder is {folder}, not a folder seen from here: give --latents"
        )
    return folder


def _check_trained_on(checkpoint: Path, latents: Path, tokenizer_sha256: str) -> None:
    """Raise UserError where the training of `checkpoint` is known to have seen another tokenizer's latents."""
    path = checkpoint.resolve().parents[1] / RECORD
    if not path.is_file():
        return
    tokenizer = TrainingRecord.read(path).starts[-1].data.tokenizer
    if tokenizer is not None and tokenizer.sha256 != tokenizer_sha256:
        raise UserError(
            f"{latents}: was encoded by another tokenizer ({tokenizer_sha256[:12]}) than {checkpoint} was trained on "
            f"({tokenizer.sha256[:12]}, field tokenizer of {path}): give --latents that the same tokenizer made"
        )


def _check_sampling(sampling: Sampling, module: DiffusionModule) -> None:
    """Raise UserError for settings that the plan or the attention gives no meaning."""
    top = 0
    for step in module.plan.steps:
        levels = [cell.level for cell in step.targets]
        sampling.evaluations(levels)
        top = max(top, *levels)
    if isinstance(sampling.nfe, tuple) and len(sampling.nfe) > top + 1:
        levels_of_plan = (
            f"levels 0 to {top}: give one number, or {top + 1} of them" if top else "level 0: give one number"
        )
        raise UserError(f"--nfe {' '.join(map(str, sampling.nfe))}: the plan denoises {levels_of_plan}")
    if sampling.refresh > 1 and module.denoiser.attention == "isolated":
        raise UserError(
            f"--refresh {sampling.refresh}: has no effect on isolated attention, which evaluates the context once a "
            "step anyway: leave it out"
        )


def _episodes(store: LatentStore, arguments: argparse.Namespace, settings: Settings, scored: bool) -> list[str]:
    keys = store.keys(arguments.split)[: arguments.episodes]
    if not keys:
        raise UserError(f"{store.folder}: split {arguments.split} is empty: choose --split, or shard more worlds")
    if len(keys) < arguments.episodes:
        print(
            f"split {arguments.split} has {len(keys)} episode{'s' * (len(keys) != 1)}, not {arguments.episodes}: "
            "all are used",
            file=sys.stderr,
        )
    if settings.protocol:
        for key in keys:
            settings.protocol.check_episode(key, store.num_frames(key), store.record(key).episode.source)
    shortest = min(keys, key=store.num_frames)
    if (recorded := store.num_frames(shortest)) < settings.context_frames:
        raise UserError(f"--context {settings.context_frames}: episode {shortest} has {recorded} frames: give less")
    if recorded < settings.end_frame:
        beyond = f"--end {settings.end_frame} lies beyond the {recorded} recorded frames of episode {shortest}"
        if scored:
            raise UserError(f"{beyond}, where there is nothing to score against: give at most {recorded}")
        print(f"{beyond}: it goes on with null actions", file=sys.stderr)
    return keys
