"""The tokenizer equals the published one on its own weights."""

from pathlib import Path

import pytest
import torch

from mstv.levels import Levels
from mstv.published import PublishedTokenizer, tokenizer_state
from mstv.tokenizer.patchify import token_coordinates
from mstv.tokenizer.tokenizer import Tokenizer, reconstruction_losses
from mstv.transformer.size import TransformerSize
from tests.reference_numbers import ReferenceNumbers, assert_agrees


@pytest.fixture
def numbers(reference: Path) -> ReferenceNumbers:
    return ReferenceNumbers(reference, "tokenizer.npz")


def build(numbers: ReferenceNumbers, cascaded: bool = False) -> Tokenizer:
    config = numbers.config
    size = TransformerSize(config["hidden_channels"], config["depth"], config["num_heads"], config["mlp_ratio"])
    levels = Levels(tuple(config["image_shape"]), tuple(config["patch_shape"]), config["num_levels"])
    tokenizer = Tokenizer(levels, config["latent_channels"], size, size, cascaded)
    tokenizer.load_state_dict(tokenizer_state(numbers.state))
    return tokenizer.eval()


@torch.no_grad()
def test_token_order_reference(numbers: ReferenceNumbers) -> None:
    coordinates = torch.stack(token_coordinates(build(numbers).levels), -1)
    assert (coordinates == numbers["indices_lhw"]).all()


@torch.no_grad()
def test_encode_reference(numbers: ReferenceNumbers) -> None:
    assert_agrees(build(numbers).encode_tokens(numbers["images"]), numbers["latents"], 1e-5, "latents")


@torch.no_grad()
def test_encode_cascaded_reference(numbers: ReferenceNumbers) -> None:
    latents = build(numbers, cascaded=True).encode_tokens(numbers["images"])
    assert_agrees(latents, numbers["latents_cascaded"], 1e-5, "latents_cascaded")


@torch.no_grad()
def test_decode_reference(numbers: ReferenceNumbers) -> None:
    tokenizer = build(numbers)
    names = numbers.names("decoded_from_level")
    assert names
    for level in range(tokenizer.levels.num_levels):
        kept = torch.full((len(numbers["images"]),), level)
        images = tokenizer.decoder(numbers["latents"], kept)
        for scale, image in enumerate(images):
            name = f"decoded_from_level{level}_scale{scale}"
            names.remove(name)
            assert_agrees(image, numbers[name], 1e-5, name)
        grid = tokenizer.split(numbers["latents"])[level]
        assert_agrees(tokenizer.decode(grid, level), images[0].clamp(0, 1), 1e-6, f"decode from level {level}")
    assert not names


@torch.no_grad()
def test_loss_reference(numbers: ReferenceNumbers) -> None:
    tokenizer = build(numbers)
    decoded = tokenizer.decoder(numbers["latents"], torch.tensor([0, 2]))
    loss = reconstruction_losses(decoded, numbers["images"]).mean()
    assert_agrees(loss, numbers["loss_mse_levels_0_2"], 1e-5, "loss_mse_levels_0_2")


def test_sizes_are_read_off_the_weights_reference(numbers: ReferenceNumbers) -> None:
    config = numbers.config
    found = PublishedTokenizer.of(tokenizer_state(numbers.state))
    size = TransformerSize(config["hidden_channels"], config["depth"], config["num_heads"], config["mlp_ratio"])
    ph, pw = config["patch_shape"]
    assert found == PublishedTokenizer(size, size, config["num_levels"], config["latent_channels"], ph * pw)
