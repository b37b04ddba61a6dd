"""LPIPS against a direct numpy formula with shared random weights, and its public files."""

import numpy as np
import pytest
import torch

from mstv.metrics import LPIPS, FrameLPIPS
from tests.metrics.weight_files import write_weights

SIDE = 40
LAYERS = {
    # Convolutions as (stride, padding), "pool", and "tap" after the ReLU of a layer that is compared.
    "vgg16": [
        *((1, 1), (1, 1), "tap", (2, 2)),
        *((1, 1), (1, 1), "tap", (2, 2)),
        *((1, 1), (1, 1), (1, 1), "tap", (2, 2)),
        *((1, 1), (1, 1), (1, 1), "tap", (2, 2)),
        *((1, 1), (1, 1), (1, 1), "tap"),
    ],
    "alexnet": [(4, 2), "tap", (3, 2), (1, 2), "tap", (3, 2), (1, 1), "tap", (1, 1), "tap", (1, 1), "tap"],
}
POOLS = {"vgg16": (2, 2), "alexnet": (3, 2)}


def network(trunk: str) -> LPIPS:
    torch.manual_seed(0)
    lpips = LPIPS(trunk).eval()
    for head in lpips.heads.parameters():
        head.data.abs_()
    return lpips


def images(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = torch.rand(2, 3, 3, SIDE, SIDE + 8, generator=torch.Generator().manual_seed(seed))
    return a, b


def convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, padding: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4])) + bias[:, None, None]


def pool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride].max((3, 4))


def plain_maps(image: np.ndarray, trunk: str, weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    mean, deviation = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x = (2 * image - 1 - mean[:, None, None]) / deviation[:, None, None]
    names = sorted({int(name.split(".")[1]) for name in weights})
    maps = []
    for layer in LAYERS[trunk]:
        if layer == "tap":
            maps.append(x / np.sqrt((x**2).sum(0)))
        elif layer == POOLS[trunk]:
            x = pool(x, *layer)
        else:
            name = names.pop(0)
            x = convolution(x, weights[f"features.{name}.weight"], weights[f"features.{name}.bias"], *layer)
            x = np.maximum(x, 0)
    assert not names
    return maps


@pytest.mark.parametrize("trunk", ["vgg16", "alexnet"])
def test_is_the_plain_formula(trunk):
    lpips, (a, b) = network(trunk), images()
    weights = {name: value.double().numpy() for name, value in lpips.trunk.state_dict().items()}
    heads = [head.double().numpy() for head in lpips.heads.state_dict().values()]
    values = FrameLPIPS(lpips).measure(a[None], b[None])
    assert values.shape == (1, 3)
    for index in (0, 2):
        x, y = (plain_maps(image[index].double().numpy(), trunk, weights) for image in (a, b))
        layers = zip(heads, x, y, strict=True)
        expected = sum((head[0] * np.square(p - q)).sum(0).mean() for head, p, q in layers)
        assert values[0, index].item() == pytest.approx(expected, abs=1e-5)
        assert expected > 1e-2


def test_equal_frames_have_no_distance():
    a, _ = images()
    torch.testing.assert_close(FrameLPIPS(network("alexnet")).measure(a[None], a[None]), torch.zeros(1, 3))


@pytest.mark.parametrize("trunk", ["vgg16", "alexnet"])
def test_loads_torchvisions_names_and_the_public_heads(trunk, tmp_path):
    source = network(trunk)
    file = write_weights(tmp_path / "trunk.pth", source.trunk, {"classifier.6.bias": torch.zeros(1000)})
    loaded = LPIPS.from_files(trunk, file)
    a, b = images()
    metric = FrameLPIPS(loaded)
    assert metric.measure(a[None], b[None]).min() > 0
    card = metric.card()
    assert card["name"] == f"lpips_{trunk}"
    assert card["weights"]["heads"]["published"]  # torchmetrics ships the public file
    assert card["weights"]["trunk"]["published"] is False
    assert all(head.min() >= 0 for head in loaded.heads.parameters())
    own = write_weights(tmp_path / "heads.pth", source.heads)
    torch.testing.assert_close(LPIPS.from_files(trunk, file, own)(a, b), source(a, b))


def test_frames_below_the_trunks_are_refused():
    small = torch.zeros(1, 1, 3, 31, 64)
    with pytest.raises(ValueError, match="at least 32 pixels"):
        FrameLPIPS(network("vgg16")).measure(small, small)
