"""The convolutional trunks of VGG16 and AlexNet under torchvision's parameter names, without torchvision."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mstv.metrics.weights import PublicWeights

TrunkName = Literal["vgg16", "alexnet"]

WEIGHTS: dict[TrunkName, PublicWeights] = {
    "vgg16": PublicWeights(
        "LPIPS (VGG16)",
        "vgg16-397923af.pth",
        "torchvision (VGG16_Weights.IMAGENET1K_V1, https://download.pytorch.org/models/vgg16-397923af.pth)",
        sha256="397923af",
        ignored=("classifier.",),
    ),
    "alexnet": PublicWeights(
        "LPIPS (AlexNet)",
        "alexnet-owt-7be5be79.pth",
        "torchvision (AlexNet_Weights.IMAGENET1K_V1, https://download.pytorch.org/models/alexnet-owt-7be5be79.pth)",
        sha256="7be5be79",
        ignored=("classifier.",),
    ),
}


class Trunk(nn.Module):
    """Layers `features.0`, `features.1`, ... of torchvision's network of that name, up to the last layer tapped.

    Args:
        name: the network.
    """

    def __init__(self, name: TrunkName) -> None:
        super().__init__()
        self.name = name
        layers, self.taps = _vgg16() if name == "vgg16" else _alexnet()
        self.features = nn.Sequential(*layers)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each tapped feature map."""
        convolutions = [self.features[tap - 1] for tap in self.taps]
        return tuple(layer.out_channels for layer in convolutions if isinstance(layer, nn.Conv2d))

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> list[Float[Tensor, "N _ _ _"]]:
        """Feature maps after the five tapped ReLUs, finest first; `images` are normalised already."""
        maps, x = [], images
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return maps


def _vgg16() -> tuple[list[nn.Module], tuple[int, ...]]:
    """relu1_2, relu2_2, relu3_3, relu4_3, relu5_3."""
    layers: list[nn.Module] = []
    before = 3
    for stage, (channels, convolutions) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        if stage:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(convolutions):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
    return layers, (3, 8, 15, 22, 29)


def _alexnet() -> tuple[list[nn.Module], tuple[int, ...]]:
    """relu1 to relu5 of the one-tower variant."""
    layers = [
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]
    return layers, (1, 4, 7, 9, 11)
