"""An episode that was rolled out, as frames and as latents, beside what is true."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mstv.keyed_random import keyed_generator


@dataclass(frozen=True)
class Episode:
    """Frames of one rollout and of its truth, from the episode's first frame to the end of the rollout, on the CPU.

    Attributes:
        key: of the episode.
        context_frames: frames that were given; the others were generated.
        generated: (T, 3, H, W) in [0, 1]: the given latents, decoded, then the rollout.
        decoded: the true latents, decoded; equal to `generated` in the context.
        recorded: the recorded frames.
        generated_latents: (T, h, w, C) of level 0, the given ones first.
        true_latents: those of the recording.
    """

    key: str
    context_frames: int
    generated: Float[Tensor, "T 3 H W"]
    decoded: Float[Tensor, "T 3 H W"]
    recorded: Float[Tensor, "T 3 H W"]
    generated_latents: Float[Tensor, "T h w C"]
    true_latents: Float[Tensor, "T h w C"]

    @property
    def end_frame(self) -> int:
        """One past the last frame."""
        return len(self.generated)

    def shuffled(self, seed: int) -> Int[Tensor, " N"]:
        """The generated frames' indices in an order drawn from the seed and the key: true frames in it are the lower
        bound.
        """
        count = self.end_frame - self.context_frames
        order = torch.randperm(count, generator=keyed_generator(seed, "shuffled", self.key))
        return self.context_frames + order
