"""Learned perceptual image patch similarity (LPIPS), with own trunks: public weights load without torchvision."""

from pathlib import Path
from typing import Any

import torch
import torchmetrics
from jaxtyping import Float
from torch import Tensor, nn

from mstv.metrics.horizon import HorizonMetric
from mstv.metrics.pairs import per_frame
from mstv.metrics.trunks import WEIGHTS, Trunk, TrunkName
from mstv.metrics.weights import PublicWeights, WeightFile

MIN_SIDE = 32
"""Smallest height and width in pixels that all five layers of both trunks still see."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and deviation of ImageNet's colours, of values in [-1, 1]."""
EPSILON = 1e-10

HEADS: dict[TrunkName, PublicWeights] = {
    "vgg16": PublicWeights(
        "LPIPS (VGG16)", "vgg.pth", "the LPIPS repository (lpips/weights/v0.1) or torchmetrics", sha256="a78928a0"
    ),
    "alexnet": PublicWeights(
        "LPIPS (AlexNet)", "alex.pth", "the LPIPS repository (lpips/weights/v0.1) or torchmetrics", sha256="df73285e"
    ),
}


class LPIPS(nn.Module):
    """The distance network: trunk, and one non-negative weight per channel of each of its five feature maps.

    Initialised at random; `from_files` loads the public weights.

    Args:
        trunk: which trunk.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: TrunkName) -> None:
        super().__init__()
        self.trunk = Trunk(trunk)
        # Named as in the public file of heads: lin0.model.1.weight, ...; index 0 was a dropout.
        self.heads = nn.ModuleDict(
            {
                f"lin{index}": nn.ModuleDict(
                    {"model": nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))}
                )
                for index, channels in enumerate(self.trunk.channels)
            }
        )
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.files: dict[str, WeightFile] = {}

    @classmethod
    def from_files(cls, trunk: TrunkName, trunk_file: Path | None, heads_file: Path | None = None) -> "LPIPS":
        """The network with public weights.

        Args:
            trunk: which trunk.
            trunk_file: torchvision's file of the whole classifier.
            heads_file: the public linear heads, version 0.1; None takes the copy that torchmetrics ships.

        Raises:
            MetricUnavailable: a file is absent or not the one.
        """
        network = cls(trunk)
        shipped = Path(torchmetrics.__file__).parent / "functional/image/lpips_models" / HEADS[trunk].name
        network.files = {
            "trunk": WEIGHTS[trunk].load_into(network.trunk, trunk_file),
            "heads": HEADS[trunk].load_into(network.heads, heads_file or shipped),
        }
        return network

    def forward(self, a: Float[Tensor, "N 3 H W"], b: Float[Tensor, "N 3 H W"]) -> Float[Tensor, " N"]:
        """Distance of images in [0, 1]: 0 for equal images, and with the public weights at most about 1."""
        distance = torch.zeros(len(a), device=a.device)
        heads = [head["model"][1] for head in self.heads.values()]  # type: ignore[index]
        for head, x, y in zip(heads, self._maps(a), self._maps(b), strict=True):
            distance = distance + head((x - y).square()).mean(dim=(1, 2, 3))
        return distance

    def _maps(self, images: Float[Tensor, "N 3 H W"]) -> list[Tensor]:
        """Feature maps of unit length at each position."""
        maps = self.trunk((2 * images - 1 - self.shift) / self.scale)
        return [x / (x.square().sum(1, keepdim=True).sqrt() + EPSILON) for x in maps]


class FrameLPIPS(HorizonMetric):
    """Mean LPIPS of frames by horizon (Zhang et al. 2018, version 0.1 of the heads).

    Videos (B, T, 3, H, W) in [0, 1], at least 32 pixels a side, measured at their own size; values from 0 (equal) to
    about 1.

    Args:
        network: the distance network, on the same device as the videos.
        max_horizon: largest horizon that `update` may be given.
    """

    unit, source = "0 is equal, about 1 unrelated", "Zhang et al. 2018"
    higher_is_better = False

    def __init__(self, network: LPIPS, max_horizon: int = 1024) -> None:
        super().__init__(max_horizon)
        self.network = network.eval().requires_grad_(False)

    @property
    def name(self) -> str:  # type: ignore[override]
        """`lpips_vgg16` or `lpips_alexnet`: their numbers are not to be mixed."""
        return f"lpips_{self.network.trunk.name}"

    @torch.no_grad()
    def measure(
        self, prediction: Float[Tensor, "B T 3 H W"], target: Float[Tensor, "_ _ 3 _ _"]
    ) -> Float[Tensor, "B T"]:
        """LPIPS of each frame."""
        height, width = prediction.shape[-2:]
        if min(height, width) < MIN_SIDE:
            raise ValueError(f"frames are {(height, width)}: LPIPS needs at least {MIN_SIDE} pixels a side")
        # The first maps have 64 channels at full size.
        return per_frame(self.network, prediction, target, frame_pixels=4 * height * width)

    def definition(self) -> dict[str, Any]:
        """Trunk and hashes of its weights; an empty `weights` means random ones."""
        return {
            "backbone": self.network.trunk.name,
            "heads_version": "0.1",
            "weights": {part: file.card() for part, file in self.network.files.items()},
        }
