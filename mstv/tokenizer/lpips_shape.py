"""LPIPS's network without its public weights: what it costs can be known where it cannot be had."""

from jaxtyping import Float
from torch import Tensor, nn

from mstv.tokenizer.flops import VGG16


class LpipsShape(nn.Module):
    """VGG16's convolutions, and the comparison of their features after each group, with the sizes of LPIPS (VGG)."""

    def __init__(self) -> None:
        super().__init__()
        groups, channels = [], 3
        for index, outputs in enumerate(VGG16):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if index else []
            for output in outputs:
                layers += [nn.Conv2d(channels, output, 3, padding=1), nn.ReLU(inplace=True)]
                channels = output
            groups.append(nn.Sequential(*layers))
        self.groups = nn.ModuleList(groups)
        self.weights = nn.ModuleList(nn.Conv2d(outputs[-1], 1, 1, bias=False) for outputs in VGG16)

    def forward(
        self, a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"], normalize: bool = True
    ) -> Float[Tensor, "B 1 1 1"]:
        """A number for each pair of images in [0, 1]; its value means nothing."""
        a, b = (self._scaled(2 * image - 1) for image in (a, b))
        total = a.new_zeros(len(a), 1, 1, 1)
        features = [self._features(a), self._features(b)]
        for x, y, weight in zip(*features, self.weights, strict=True):
            difference = (_unit(x) - _unit(y)) ** 2
            total = total + weight(difference).mean([2, 3], keepdim=True)
        return total

    def _scaled(self, image: Tensor) -> Tensor:
        """Shifted and divided by channel."""
        return (image - 0.0) / 1.0

    def _features(self, image: Tensor) -> list[Tensor]:
        features = []
        for group in self.groups:
            image = group(image)
            features.append(image)
        return features


def _unit(features: Tensor) -> Tensor:
    """Divided by their length over the channels."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)
