"""Properties of the tokenizer and its parts."""

import pytest
import torch
from torch import nn

from mstv.errors import UserError
from mstv.levels import Levels
from mstv.tokenizer.patchify import patchify, pyramid, unpatchify
from mstv.tokenizer.perceptual import PerceptualLoss
from mstv.tokenizer.tokenizer import Tokenizer, reconstruction_losses
from mstv.transformer.initialise import initialise
from mstv.transformer.size import TransformerSize

LEVELS = Levels((16, 32), (4, 2), 3)


def build() -> Tokenizer:
    torch.manual_seed(0)
    tokenizer = Tokenizer(LEVELS, 5, TransformerSize(16, 1, 2), TransformerSize(16, 1, 2))
    for parameter in tokenizer.parameters():
        nn.init.normal_(parameter, std=0.2)
    return tokenizer.eval()


def test_patchify_inverts() -> None:
    images = pyramid(torch.rand(2, 3, 16, 32), 3)
    patches = patchify(images, LEVELS)
    assert patches.shape == (2, sum(LEVELS.tokens_per_level), 24)
    for image, back in zip(images, unpatchify(patches, LEVELS), strict=True):
        assert torch.equal(image, back)


@torch.no_grad()
def test_shapes_and_ranges() -> None:
    tokenizer = build()
    latents = tokenizer.encode(torch.rand(2, 3, 16, 32))
    assert [tuple(level.shape) for level in latents] == [(2, *LEVELS.grid(level), 5) for level in range(3)]
    assert all(level.abs().max() < 1 for level in latents)
    for level, grid in enumerate(latents):
        frames = tokenizer.decode(grid, level)
        assert frames.shape == (2, 3, 16, 32) and frames.min() >= 0 and frames.max() <= 1


@torch.no_grad()
def test_decoder_sees_only_the_kept_level() -> None:
    tokenizer = build()
    tokens = tokenizer.encode_tokens(torch.rand(1, 3, 16, 32))
    other = tokens.clone()
    other[:, : LEVELS.num_tokens(0)] = 0.5
    kept = torch.tensor([1])
    assert torch.equal(tokenizer.decoder(tokens, kept)[0], tokenizer.decoder(other, kept)[0])
    kept = torch.tensor([0])
    assert not torch.equal(tokenizer.decoder(tokens, kept)[0], tokenizer.decoder(other, kept)[0])


def test_initial_adaln_is_identity_and_weights_are_finite() -> None:
    tokenizer = build()
    for block in tokenizer.decoder.transformer.blocks:
        nn.init.zeros_(block.modulation[1].weight)
    initialise(tokenizer)
    x = torch.randn(1, 4, 16)
    assert torch.equal(tokenizer.decoder.transformer(x, torch.randn(1, 1, 16)), x)


def test_loss_weighs_levels_by_4_to_the_level() -> None:
    images = torch.rand(2, 3, 16, 32)
    targets = pyramid(images, 3)
    elements = sum(target.numel() for target in targets)
    for level in range(3):
        decoded = [target + (0.1 if index == level else 0) for index, target in enumerate(targets)]
        expected = 4**level * 0.01 * targets[level].numel() / elements
        assert reconstruction_losses(decoded, images).tolist() == pytest.approx([expected] * 2, rel=1e-4)


class RandomLpips(nn.Module):
    """Small random features with the call of the public network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor, normalize: bool) -> torch.Tensor:
        assert normalize
        return (self.conv(a) - self.conv(b)).square().mean((1, 2, 3), keepdim=True)


def test_perceptual_loss_is_frozen_and_differentiable() -> None:
    loss = PerceptualLoss(RandomLpips())
    a = torch.rand(2, 3, 8, 8, requires_grad=True)
    loss(a * 1.5, torch.rand(2, 3, 8, 8)).backward()
    assert a.grad is not None and a.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_absent_lpips_is_named() -> None:
    try:
        import lpips  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r"mstv\[lpips\]"):
            PerceptualLoss()
    else:
        pytest.skip("lpips is installed")


@pytest.mark.parametrize("size", [(20, 32), (16, 33)])
def test_indivisible_images_are_named(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="not divisible by"):
        Levels(size, (4, 4), 3)
