"""Whether a trained model looks places up in its context, measured in a minute, before a table is spent on it.

From pure noise a model predicts the mean of what it expects. That prediction is compared with the true latents of the
frames of a plan's first step: by when their pose was seen last, and with the far context (older than the newest RECENT
frames) taken from another episode. A model that remembers explains places that only the far context showed, and loses
them with a foreign one; one that only follows its motion does not tell the two apart.

Command:  python -m experiments.loopwalk.probe loopwalk/mini/runs/coarse_to_fine-isolated-0
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mstv.cli.arguments import at_least
from mstv.cli.checkpoints import resolve_checkpoint
from mstv.cli.experiment import read_yaml
from mstv.data.latent_shards import LatentStore
from mstv.data.latents import StepStream
from mstv.data.results import CONFIG
from mstv.diffusion.module import DiffusionModule, load_diffusion
from mstv.diffusion.sample_step import prepare_context
from mstv.errors import UserError
from mstv.keyed_random import keyed_normal
from mstv.rollout.layout import StepLayout

BATCH = 32
RECENT = 8
KINDS = ("still", "recent", "remembered", "new")
"""Pose as one frame before; else seen in the `RECENT` newest frames of context or since; only earlier in it; never."""


def kinds_of(poses: Float[np.ndarray, "T 5"], first: int) -> Int[np.ndarray, " n"]:
    """Index into `KINDS` of the frames of a chunk from `first` on; those before are its context."""
    kinds = []
    for frame in range(first, len(poses)):
        same = np.flatnonzero((np.abs(poses[:frame] - poses[frame]) < 1e-3).all(1))
        if len(same) and same[-1] == frame - 1:
            kinds.append(0)
        elif len(same) and same[-1] >= first - RECENT:
            kinds.append(1)
        else:
            kinds.append(2 if len(same) else 3)
    return np.array(kinds)


@torch.no_grad()
def expected(module: DiffusionModule, layout: StepLayout, tokens: Tensor, actions: Tensor | None) -> Tensor:
    """What the model expects of the targets, given `tokens` (B, N, C) of which only the context is used."""
    context = tokens[:, : layout.num_context_tokens]
    noise = keyed_normal(0, tuple(tokens.shape), 0, "probe")
    context_eps, eps = noise.split([layout.num_context_tokens, layout.num_target_tokens], 1)
    kept = torch.zeros(len(tokens), dtype=torch.bool)
    state = prepare_context(module.denoiser, module.schedule, layout, context, context_eps, actions, kept)
    # At t = 1, x = alpha x_t - sigma v with alpha = 0.
    return -module.denoiser.denoise(state, eps, torch.ones(len(tokens)))


def probe(module: DiffusionModule, store: LatentStore, split: str, chunks: int) -> dict[str, np.ndarray]:
    """Share of the targets' variance that the model explains, by kind of frame.

    Returns:
        `own` and `foreign` (kind,), with the episode's own far context and with another's; `frames` (kind,), how many.
    """
    step = module.plan.steps[0]
    layout = StepLayout.of(step, module.levels)
    frames = [cell.frame for cell in step.targets]
    first, last = min(frames), max(frames)
    cells = torch.tensor([cell.frame < first - RECENT for cell in step.context])
    far = cells[layout.token_cell[: layout.num_context_tokens]]
    # Of several target levels, the coarsest is what the far past is remembered by.
    level = module.plan.num_levels - 1 if len(layout.target_levels) > 1 else layout.target_levels[0]
    part = layout.target_level_slices[layout.target_levels.index(level)]
    chunk = replace(module.plan, steps=(step,), num_frames=last + 1, first_target_frame=first, num_clipped_frames=0)
    sizes = (-(-chunks // BATCH), BATCH, 0)
    stream = StepStream(store, chunk, tuple(store.keys(split)), *sizes, 0, True, module.conditions)
    kinds: list[np.ndarray] = []
    truth: list[Tensor] = []
    errors: dict[str, list[Tensor]] = {"own": [], "foreign": []}
    for index in range(stream.num_batches):
        batch = stream.batch(index)
        tokens = module.normalised(batch.tokens.float(), layout.token_level)
        foreign = tokens.clone()
        # Samples are drawn at random, so that the next one of the batch is almost always of another episode.
        foreign[:, : len(far)][:, far] = tokens.roll(1, 0)[:, : len(far)][:, far]
        target = tokens[:, layout.num_context_tokens :][:, part]
        for name, given in (("own", tokens), ("foreign", foreign)):
            found = expected(module, layout, given, batch.actions)[:, part]
            errors[name].append((found - target).square().unflatten(1, (last + 1 - first, -1)).mean((2, 3)))
        truth.append(target)
        for key, start in zip(batch.keys, batch.starts, strict=True):
            poses = store.poses(key)
            if poses is None:
                raise UserError(f"{store.folder}: episode {key} has no poses: it is no set of LoopWalk")
            kinds.append(kinds_of(poses[start : start + last + 1], first))
    variance = float(torch.cat(truth).flatten(0, 1).var(0).mean())
    kind = np.stack(kinds)
    explained = {
        name: np.array([1 - float(torch.cat(parts)[kind == k].mean()) / variance for k in range(len(KINDS))])
        for name, parts in errors.items()
    }
    return {**explained, "frames": np.array([int((kind == k).sum()) for k in range(len(KINDS))])}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.loopwalk.probe", description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="run directory of a diffusion training")
    parser.add_argument("--latents", type=Path, help="(default: those that it was trained on)")
    parser.add_argument("--split", choices=["train", "validation", "test"], default="validation")
    parser.add_argument("--chunks", type=at_least(1), default=512, metavar="N", help="(default: 512)")
    arguments = parser.parse_args()
    try:
        module, _ = load_diffusion(resolve_checkpoint(arguments.run))
        latents = arguments.latents or Path(read_yaml(arguments.run / CONFIG)["data"]["init_args"]["folder"])
        found = probe(module, LatentStore(latents), arguments.split, arguments.chunks)
    except UserError as error:
        print(f"probe: {error}", file=sys.stderr)
        return 2
    print(f"{'frame':<12}{'own':>8}{'foreign':>9}{'frames':>8}   share of variance explained")
    for number, name in enumerate(KINDS):
        print(f"{name:<12}{found['own'][number]:8.3f}{found['foreign'][number]:9.3f}{found['frames'][number]:8d}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
