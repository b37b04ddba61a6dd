"""Published checkpoints, as a file, through `mstv convert`."""

from pathlib import Path

import pytest
import torch

from mstv.cli.main import main
from mstv.diffusion.module import load_diffusion
from mstv.tokenizer.module import load_tokenizer
from tests.reference_numbers import ReferenceNumbers, assert_agrees


def size(values: list[int]) -> str:
    return "x".join(map(str, values))


@torch.no_grad()
def test_convert_tokenizer_reference(reference: Path, tmp_path: Path) -> None:
    numbers = ReferenceNumbers(reference, "tokenizer.npz")
    config = numbers.config
    torch.save({"model": numbers.state, "step": 7}, tmp_path / "published.pt")
    command = ["convert", "tokenizer", str(tmp_path / "published.pt"), str(tmp_path / "ours.ckpt")]
    shape = ["--image-size", size(config["image_shape"]), "--patch-size", size(config["patch_shape"])]
    assert main([*command, *shape]) == 0
    tokenizer, _ = load_tokenizer(tmp_path / "ours.ckpt")
    assert_agrees(tokenizer.encode_tokens(numbers["images"]), numbers["latents"], 1e-5, "latents")
    assert main([*command, "--image-size", size(config["image_shape"]), "--patch-size", "1"]) == 2


def test_convert_diffusion_reference(reference: Path, tmp_path: Path) -> None:
    numbers = ReferenceNumbers(reference, "diffusion.npz")
    config = numbers.config
    if config["plan"]["name"] != "millivid":
        pytest.skip(f"plan {config['plan']['name']}")
    # A denoiser inside a published checkpoint has one more `dit.` in front.
    state = {f"dit.{name}": value for name, value in numbers.state.items()}
    torch.save({"model": state}, tmp_path / "published.pt")
    command = ["convert", "diffusion", str(tmp_path / "published.pt"), str(tmp_path / "ours.ckpt")]
    height, width = config["latent_shape"]
    windows = [str(window) for window in config["plan"]["num_frames_per_level"]]
    plan = ["--windows", *windows, "--extra-context-tokens", str(config["plan"]["extra_budget"])]
    shape = ["--image-size", size([4 * height, 4 * width]), "--patch-size", "4"]
    assert main([*command, *shape, *plan]) == 0
    module, _ = load_diffusion(tmp_path / "ours.ckpt")
    assert module.plan.num_levels == len(windows)
    weight = module.denoiser.transformer.blocks[0].attention.qkv.weight
    assert torch.equal(weight, numbers["state/dit.dit.blocks.0.attn.qkv.weight"])
