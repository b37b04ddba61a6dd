"""An episode that a training rolled out, beside its truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mstv.data.latent_shards import LatentStore
from mstv.data.schema import MANIFEST, TOKENIZER_COPY, read_manifest
from mstv.data.shards import read_episode_frames
from mstv.keyed_random import keyed_generator
from mstv.metrics import Revisits, find_revisits, frame_psnr
from mstv.tokenizer.module import load_tokenizer

DECODED_AT_ONCE = 64


@dataclass(frozen=True)
class RolledEpisode:
    """Videos in [0, 1] on the CPU: the context where anything comes back to it, then T generated frames.

    Attributes:
        key: of the episode.
        num_context: frames of the context that the videos begin with.
        generated: the context's latents, decoded, and the rollout.
        decoded: the true latents, decoded.
        recorded: as recorded; None where the frames are not at hand.
        levels: the T generated frames as decoded from each level alone; None for levels that the plan leaves out.
        revisits: pairs of frames of the videos with the same pose.
    """

    key: str
    num_context: int
    generated: Float[Tensor, "N 3 H W"]
    decoded: Float[Tensor, "N 3 H W"]
    recorded: Float[Tensor, "N 3 H W"] | None
    levels: tuple[Float[Tensor, "T 3 H W"] | None, ...] = ()
    revisits: Revisits | None = None

    @property
    def truth(self) -> Float[Tensor, "N 3 H W"]:
        """What frames are scored against: the recorded ones where they are at hand, else the decoded."""
        return self.decoded if self.recorded is None else self.recorded

    def psnr(self, seed: int) -> dict[str, Float[np.ndarray, " T"]]:
        """PSNR in dB of each generated frame, and of both bounds: decoded true frames, and these in random order.

        Without recorded frames there is no upper bound: the decoded ones are the truth.
        """
        first = self.num_context
        decoded, truth = self.decoded[first:], self.truth[first:]
        order = torch.randperm(len(decoded), generator=keyed_generator(seed, "shuffled", self.key))
        videos = {"generated": self.generated[first:], "lower_bound": decoded[order]}
        if self.recorded is not None:
            videos["upper_bound"] = decoded
        return {name: frame_psnr(video[None], truth[None])[0].numpy() for name, video in videos.items()}


class EpisodeDecoder:
    """Makes frames of latents, by the tokenizer that made these, and finds what is true beside them.

    Args:
        store: the latents, and with them the tokenizer.
    """

    def __init__(self, store: LatentStore) -> None:
        self._store = store
        self._tokenizer, _ = load_tokenizer(store.folder / TOKENIZER_COPY)

    def episode(
        self, key: str, levels: list[Float[Tensor, "T _h _w C"] | None], start: int, each_level: bool
    ) -> RolledEpisode:
        """An episode of which the frames from `start` on were generated.

        Args:
            key: of the episode.
            levels: the generated latents of each level; None for what the plan leaves out, which level 0 is not.
            start: frames of context.
            each_level: whether to decode each level alone, too.
        """
        made, store = levels[0], self._store
        assert made is not None, "a rollout generates level 0"
        end = start + len(made)
        poses = store.poses(key)
        revisits = None if poses is None else find_revisits(poses[:end], start)
        if revisits is not None and not len(revisits.frame):
            revisits = None
        # The context is decoded only where something comes back to it.
        first = 0 if revisits is not None else start
        true = torch.from_numpy(store.read(key, 0, slice(first, end))).float().to(made.device)
        decoded, generated = self._decode(true, 0), self._decode(made, 0)
        shown: list[Tensor | None] = []
        if each_level:
            coarse = enumerate(levels[1:], 1)
            shown = [generated, *(None if part is None else self._decode(part, level) for level, part in coarse)]
        return RolledEpisode(
            key=key,
            num_context=start - first,
            generated=torch.cat([decoded[: start - first], generated]),
            decoded=decoded,
            recorded=_recorded(store, key, slice(first, end)),
            levels=tuple(shown),
            revisits=revisits,
        )

    def _decode(self, latents: Float[Tensor, "T h w C"], level: int) -> Float[Tensor, "T 3 H W"]:
        """Frames on the CPU."""
        tokenizer = self._tokenizer.to(latents.device)
        return torch.cat([tokenizer.decode(part, level).float().cpu() for part in latents.split(DECODED_AT_ONCE)])


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
