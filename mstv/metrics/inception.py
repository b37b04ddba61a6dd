"""The InceptionV3 of the Frechet Inception distance, under the parameter names of its public PyTorch weights."""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mstv.metrics.features import Features
from mstv.metrics.weights import PublicWeights

SIDE = 299
WEIGHTS = PublicWeights(
    "FID (InceptionV3)",
    "pt_inception-2015-12-05-6726825d.pth",
    "pytorch-fid (release fid_weights, "
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth)",
    sha256="6726825d",
    ignored=("fc.", "AuxLogits."),
)


class Convolution(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self, before: int, after: int, size: int | tuple[int, int], stride: int = 1, same: bool = True
    ) -> None:
        super().__init__()
        sides = (size, size) if isinstance(size, int) else size
        padding = (sides[0] // 2, sides[1] // 2) if same else 0
        self.conv = nn.Conv2d(before, after, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=0.001)

    def forward(self, x: Float[Tensor, "N _ _ _"]) -> Float[Tensor, "N _ _ _"]:
        """Feature maps."""
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches of convolutions over the same maps, joined; a branch is a chain, in which a list is a fork.

    Args:
        branches: names and convolutions of each chain, in the order of the joined channels. The last chain of "average"
            and "maximum" starts with that pooling; "reduce" joins a bare pooling of stride 2.
        pooling: see above.
    """

    def __init__(self, branches: list[list[tuple[str, Convolution]]], pooling: str) -> None:
        super().__init__()
        for chain in branches:
            for name, convolution in chain:
                self.add_module(name, convolution)
        self.chains = [[name for name, _ in chain] for chain in branches]
        self.pooling = pooling

    def forward(self, x: Float[Tensor, "N _ _ _"]) -> Float[Tensor, "N _ _ _"]:
        """Joined feature maps."""
        joined = []
        for chain in self.chains:
            y = x
            if chain == ["branch_pool"]:
                # TensorFlow leaves the padding out of the mean.
                average = self.pooling == "average"
                y = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if average else F.max_pool2d(x, 3, 1, 1)
            fork = [name for name in chain if name.endswith(("a", "b"))]
            for name in chain:
                if name not in fork:
                    y = self.get_submodule(name)(y)
            joined += [self.get_submodule(name)(y) for name in fork] or [y]
        if self.pooling == "reduce":
            joined.append(F.max_pool2d(x, 3, 2))
        return torch.cat(joined, 1)


def _block35(before: int, pooled: int) -> Mixed:
    return Mixed(
        [
            [("branch1x1", Convolution(before, 64, 1))],
            [("branch5x5_1", Convolution(before, 48, 1)), ("branch5x5_2", Convolution(48, 64, 5))],
            [
                ("branch3x3dbl_1", Convolution(before, 64, 1)),
                ("branch3x3dbl_2", Convolution(64, 96, 3)),
                ("branch3x3dbl_3", Convolution(96, 96, 3)),
            ],
            [("branch_pool", Convolution(before, pooled, 1))],
        ],
        "average",
    )


def _reduction35() -> Mixed:
    return Mixed(
        [
            [("branch3x3", Convolution(288, 384, 3, 2, same=False))],
            [
                ("branch3x3dbl_1", Convolution(288, 64, 1)),
                ("branch3x3dbl_2", Convolution(64, 96, 3)),
                ("branch3x3dbl_3", Convolution(96, 96, 3, 2, same=False)),
            ],
        ],
        "reduce",
    )


def _block17(inner: int) -> Mixed:
    wide, tall = (1, 7), (7, 1)
    return Mixed(
        [
            [("branch1x1", Convolution(768, 192, 1))],
            [
                ("branch7x7_1", Convolution(768, inner, 1)),
                ("branch7x7_2", Convolution(inner, inner, wide)),
                ("branch7x7_3", Convolution(inner, 192, tall)),
            ],
            [
                ("branch7x7dbl_1", Convolution(768, inner, 1)),
                ("branch7x7dbl_2", Convolution(inner, inner, tall)),
                ("branch7x7dbl_3", Convolution(inner, inner, wide)),
                ("branch7x7dbl_4", Convolution(inner, inner, tall)),
                ("branch7x7dbl_5", Convolution(inner, 192, wide)),
            ],
            [("branch_pool", Convolution(768, 192, 1))],
        ],
        "average",
    )


def _reduction17() -> Mixed:
    return Mixed(
        [
            [("branch3x3_1", Convolution(768, 192, 1)), ("branch3x3_2", Convolution(192, 320, 3, 2, same=False))],
            [
                ("branch7x7x3_1", Convolution(768, 192, 1)),
                ("branch7x7x3_2", Convolution(192, 192, (1, 7))),
                ("branch7x7x3_3", Convolution(192, 192, (7, 1))),
                ("branch7x7x3_4", Convolution(192, 192, 3, 2, same=False)),
            ],
        ],
        "reduce",
    )


def _block8(before: int, pooling: str) -> Mixed:
    return Mixed(
        [
            [("branch1x1", Convolution(before, 320, 1))],
            [
                ("branch3x3_1", Convolution(before, 384, 1)),
                ("branch3x3_2a", Convolution(384, 384, (1, 3))),
                ("branch3x3_2b", Convolution(384, 384, (3, 1))),
            ],
            [
                ("branch3x3dbl_1", Convolution(before, 448, 1)),
                ("branch3x3dbl_2", Convolution(448, 384, 3)),
                ("branch3x3dbl_3a", Convolution(384, 384, (1, 3))),
                ("branch3x3dbl_3b", Convolution(384, 384, (3, 1))),
            ],
            [("branch_pool", Convolution(before, 192, 1))],
        ],
        pooling,
    )


class InceptionFeatures(Features):
    """Images to the 2048 pooled features (Szegedy et al. 2016, the network that Heusel et al. 2017 measured with).

    Initialised at random; `from_file` loads the public weights.
    """

    num_features = 2048
    name = "inception_v3_2015_12_05"
    resize = "299x299, bilinear, align_corners=False, no antialias"

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, 2, same=False)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3, same=False)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3, same=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _block35(192, 32), _block35(256, 64), _block35(288, 64)
        self.Mixed_6a = _reduction35()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = map(_block17, (128, 160, 160, 192))
        self.Mixed_7a = _reduction17()
        # The public network takes the maximum in its last block, and so must we.
        self.Mixed_7b, self.Mixed_7c = _block8(1280, "average"), _block8(2048, "maximum")

    @classmethod
    def from_file(cls, path: Path | None) -> "InceptionFeatures":
        """The network with public weights.

        Raises:
            MetricUnavailable: the file is absent or not the one.
        """
        network = cls()
        network.file = WEIGHTS.load_into(network, path)
        return network

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 2048"]:
        """Features of images in [0, 1]."""
        x = F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(2 * x - 1)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean(dim=(2, 3))
