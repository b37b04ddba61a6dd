"""DINOv2: the transformer against a plain formula, its preprocessing against Pillow, its files."""

import numpy as np
import pytest
import torch
from PIL import Image

from mstv.metrics import DINOv2, FrameDINO
from mstv.metrics.dino import DEVIATION, MEAN, preprocess
from tests.metrics.weight_files import randomise, write_weights


def small(grid: int = 4) -> DINOv2:
    network = DINOv2(width=24, depth=2, heads=3, grid=grid).eval()
    randomise(network)
    return network


def plain_dino(image: np.ndarray, weights: dict[str, np.ndarray], heads: int) -> np.ndarray:
    """Class token of one normalised image whose grid is that of the position embedding."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    rows, columns = image.shape[1] // 14, image.shape[2] // 14
    patches = image.reshape(3, rows, 14, columns, 14).transpose(1, 3, 0, 2, 4).reshape(rows * columns, -1)
    kernel = weights["patch_embed.proj.weight"].reshape(-1, 3 * 14 * 14)
    x = np.concatenate([weights["cls_token"][0], patches @ kernel.T + weights["patch_embed.proj.bias"]])
    x = x + weights["pos_embed"][0]
    erf = np.vectorize(__import__("math").erf)
    for block in range(2):
        y = linear(norm(x, f"blocks.{block}.norm1"), f"blocks.{block}.attn.qkv")
        q, k, v = y.reshape(len(x), 3, heads, -1).transpose(1, 2, 0, 3)
        scores = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]))
        mixed = (scores / scores.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(x), -1)
        x = x + weights[f"blocks.{block}.ls1.gamma"] * linear(mixed, f"blocks.{block}.attn.proj")
        y = linear(norm(x, f"blocks.{block}.norm2"), f"blocks.{block}.mlp.fc1")
        y = linear(y * 0.5 * (1 + erf(y / np.sqrt(2))), f"blocks.{block}.mlp.fc2")
        x = x + weights[f"blocks.{block}.ls2.gamma"] * y
    return norm(x[0], "norm")


def test_is_the_plain_formula():
    network = small()
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    image = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    expected = plain_dino(image[0].double().numpy(), weights, heads=3)
    np.testing.assert_allclose(network(image)[0].detach(), expected, atol=1e-4)


def test_position_embedding_is_stretched_over_other_grids():
    network = small(grid=37)
    ramp = torch.arange(37.0)[:, None].expand(37, 37)  # grows downwards alone
    network.pos_embed.data[:, 1:] = ramp.reshape(1, -1, 1)
    positions = network._positions(16, 8)[0, 1:, 0].reshape(16, 8)
    assert positions[:, 0].diff().min() > 2  # 37 / 16 a row
    torch.testing.assert_close(positions, positions[:, :1].expand(16, 8))
    torch.testing.assert_close(network._positions(16, 16)[:, 0], network.pos_embed[:, 0])


@pytest.mark.parametrize("size", [(64, 64), (300, 400), (128, 80)])
def test_preprocessing_is_pillows(size):
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    scale = 256 / min(size)
    big = image.resize((int(size[1] * scale), int(size[0] * scale)), Image.Resampling.BICUBIC)
    left, top = round((big.width - 224) / 2), round((big.height - 224) / 2)
    expected = np.asarray(big.crop((left, top, left + 224, top + 224)), np.float64) / 255
    ours = preprocess(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255)
    ours = ours[0].permute(1, 2, 0) * torch.tensor(DEVIATION) + torch.tensor(MEAN)
    assert np.abs(ours.numpy() - expected).max() < 2 / 255


def test_cosine_of_frames():
    metric = FrameDINO(small())
    video = torch.rand(2, 3, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(metric.measure(video, video), torch.ones(2, 3))
    other = metric.measure(video, video.flip(1))
    assert other.shape == (2, 3)
    assert (other[:, ::2] < 1 - 1e-4).all()
    assert metric.card()["weights"] is None


def test_loads_the_public_names(tmp_path):
    source = DINOv2(384, 12, 6)
    file = write_weights(tmp_path / "vits.pth", source, {"mask_token": torch.zeros(1, 384)})
    loaded = DINOv2.from_file("vits14", file)
    assert torch.equal(loaded.pos_embed, source.pos_embed)
    assert loaded.pos_embed.shape == (1, 1370, 384)
    card = FrameDINO(loaded).card()
    assert card["backbone"] == "dinov2_vits14"
    assert len(card["weights"]["sha256"]) == 64
