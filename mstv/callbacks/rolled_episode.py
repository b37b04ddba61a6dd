"""An episode that a training rolled out, beside its truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mstv.callbacks.turn import Turn
from mstv.data.latent_shards import LatentStore
from mstv.data.results import GroundTruth
from mstv.data.schema import MANIFEST, TOKENIZER_COPY, read_manifest
from mstv.data.shards import read_episode_frames
from mstv.evaluation.episode import Episode
from mstv.evaluation.revisit_scoring import AWAY
from mstv.metrics import find_revisits
from mstv.tokenizer.module import load_tokenizer

DECODED_AT_ONCE = 64


@dataclass(frozen=True)
class RolledEpisode:
    """A rollout as an evaluation scores it, and what each level of it shows.

    Attributes:
        episode: the frames. Where no place comes back, it has no context, and begins with the first generated frame.
        is_recorded: whether the recorded frames are at hand; else the decoded ones stand in their place.
        poses: float32 (T, 5), of the frames of `episode`; None where no place comes back.
        levels: generated frames as decoded from each level alone; None for levels that the plan leaves out.
    """

    episode: Episode
    is_recorded: bool
    poses: Float[np.ndarray, "T 5"] | None = None
    levels: tuple[Float[Tensor, "N 3 H W"] | None, ...] = ()

    @property
    def truth(self) -> GroundTruth:
        """What frames are scored against: the recorded ones where they are at hand, else the decoded."""
        return "raw" if self.is_recorded else "decoded"


class EpisodeDecoder:
    """Makes frames of latents, by the tokenizer that made these, and finds what is true beside them.

    Args:
        store: the latents, and with them the tokenizer.
    """

    def __init__(self, store: LatentStore) -> None:
        self._store = store
        self._tokenizer, self.tokenizer_sha256 = load_tokenizer(store.folder / TOKENIZER_COPY)

    def episode(
        self, key: str, levels: list[Float[Tensor, "T _h _w C"] | None], start: int, each_level: bool, turn: Turn
    ) -> RolledEpisode:
        """An episode of which the frames from `start` on were generated.

        Args:
            key: of the episode.
            levels: the generated latents of each level; None for what the plan leaves out, which level 0 is not.
            start: frames of context.
            each_level: whether to decode each level alone, too.
            turn: is told of each part that was decoded.

        Raises:
            TooDear: it would take longer than there is time for.
            Stopped: the training is asked to stop.
        """
        made, store = levels[0], self._store
        assert made is not None, "a rollout generates level 0"
        end = start + len(made)
        poses = store.poses(key)
        if poses is not None and not _comes_back(poses[:end], start):
            poses = None
        # The context is decoded only where something comes back to it.
        first = 0 if poses is not None else start
        coarse = [(level, part) for level, part in enumerate(levels[1:], 1) if part is not None and each_level]
        lengths = [end - first, *[len(made)] * (1 + len(coarse))]
        turn.stage(sum(-(-length // DECODED_AT_ONCE) for length in lengths))
        true = torch.from_numpy(store.read(key, 0, slice(first, end))).float()
        decoded = self._decode(true.to(made.device), 0, turn)
        generated = self._decode(made, 0, turn)
        alone = {level: self._decode(part, level, turn) for level, part in coarse}
        recorded = _recorded(store, key, slice(first, end))
        context = start - first
        episode = Episode(
            key=key,
            context_frames=context,
            generated=torch.cat([decoded[:context], generated]),
            decoded=decoded,
            recorded=decoded if recorded is None else recorded,
            generated_latents=torch.cat([true[:context], made.float().cpu()]),
            true_latents=true,
        )
        shown = (generated, *(alone.get(level) for level in range(1, len(levels)))) if each_level else ()
        return RolledEpisode(episode, recorded is not None, None if poses is None else poses[:end], shown)

    def _decode(self, latents: Float[Tensor, "T h w C"], level: int, turn: Turn) -> Float[Tensor, "T 3 H W"]:
        """Frames on the CPU."""
        tokenizer, frames = self._tokenizer.to(latents.device), []
        for part in latents.split(DECODED_AT_ONCE):
            frames.append(tokenizer.decode(part, level).float().cpu())
            turn.advance()
        return torch.cat(frames)


def _comes_back(poses: Float[np.ndarray, "T 5"], context: int) -> bool:
    return bool(np.isfinite(poses).all()) and len(find_revisits(poses, context, away=AWAY).frame) > 0


def _recorded(store: LatentStore, key: str, frames: slice) -> Float[Tensor, "T 3 H W"] | None:
    """Recorded frames; None where the set that the latents were made from is not at hand."""
    folder = store.folder / Path(store.manifest.source or "")
    if not store.manifest.source or not (folder / MANIFEST).is_file():
        return None
    manifest = read_manifest(folder, "frames")
    if manifest.sha256 != store.manifest.source_sha256:
        return None
    found = torch.from_numpy(read_episode_frames(folder, manifest, key)[0][frames])
    return found.permute(0, 3, 1, 2).float() / 255
