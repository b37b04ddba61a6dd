"""Published checkpoints, as a file, through `mstv convert`."""

from pathlib import Path

import pytest
import torch

from mstv.cli.main import main
from mstv.diffusion.framepack import FramePackDenoiser
from mstv.diffusion.module import load_diffusion
from mstv.rollout.families import family_to_dict
from mstv.tokenizer.module import load_tokenizer
from tests.diffusion.test_framepack_reference import batch
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


def published(numbers: ReferenceNumbers, folder: Path) -> list[str]:
    """Command that converts the denoiser of `numbers`, but for its plan."""
    # A denoiser inside a published checkpoint has one more `dit.` in front.
    state = {f"dit.{name}": value for name, value in numbers.state.items()}
    torch.save({"model": state}, folder / "published.pt")
    height, width = numbers.config["latent_shape"]
    shape = ["--image-size", size([4 * height, 4 * width]), "--patch-size", "4"]
    return ["convert", "diffusion", str(folder / "published.pt"), str(folder / "ours.ckpt"), *shape]


def refused(capsys: pytest.CaptureFixture[str], command: list[str], message: str) -> None:
    """The command fails with one line that says `message`."""
    capsys.readouterr()
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_convert_diffusion_reference(reference: Path, tmp_path: Path) -> None:
    numbers = ReferenceNumbers(reference, "diffusion.npz")
    config = numbers.config
    if config["plan"]["name"] != "millivid":
        pytest.skip(f"plan {config['plan']['name']}")
    command = published(numbers, tmp_path)
    windows = [str(window) for window in config["plan"]["num_frames_per_level"]]
    plan = ["--windows", *windows, "--extra-context-tokens", str(config["plan"]["extra_budget"])]
    assert main([*command, *plan]) == 0
    module, _ = load_diffusion(tmp_path / "ours.ckpt")
    assert module.plan.num_levels == len(windows)
    weight = module.denoiser.transformer.blocks[0].attention.qkv.weight
    assert torch.equal(weight, numbers["state/dit.dit.blocks.0.attn.qkv.weight"])


def test_convert_diffusion_with_another_plan_reference(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = ReferenceNumbers(reference, "diffusion.npz")
    command, num_levels = published(numbers, tmp_path), numbers.config["num_levels"]
    context, targets = ["--num-context-frames", *["1"] * num_levels], ["--num-target-frames", *["2"] * num_levels]
    for options, expected in [
        (["--plan", "full_resolution", "--num-frames", "5"], {"family": "full_resolution", "num_frames": 5}),
        (
            ["--plan", "framepack", *context, "--num-target-frames", "2"],
            {"family": "framepack", "num_context_frames": [1] * num_levels, "num_target_frames": 2},
        ),
        (
            ["--plan", "framepack_mirrored", *context, *targets],
            {
                "family": "framepack_mirrored",
                "num_context_frames": [1] * num_levels,
                "num_target_frames": [2] * num_levels,
            },
        ),
    ]:
        assert main([*command, *options]) == 0
        module, _ = load_diffusion(tmp_path / "ours.ckpt")
        assert family_to_dict(module.family) == expected
        assert not isinstance(module.denoiser, FramePackDenoiser)
        (tmp_path / "ours.ckpt").unlink()
    refused(capsys, [*command, "--plan", "framepack", *context], "plan framepack needs --num-target-frames")
    refused(capsys, [*command, "--num-frames", "5"], "--num-frames is no parameter of coarse_to_fine")
    packed = ["--plan", "framepack_latents", *context, "--num-target-frames", "2"]
    if num_levels > 1:
        refused(capsys, [*command, *packed], "the weights are not those of the FramePack baseline")
    too_many = ["--plan", "framepack", *context, "1", "--num-target-frames", "2"]
    refused(capsys, [*command, *too_many], "levels")
    assert not (tmp_path / "ours.ckpt").exists()


@torch.no_grad()
def test_convert_framepack_reference(reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = ReferenceNumbers(reference, "framepack.npz")
    config = numbers.config
    command = published(numbers, tmp_path)
    context = ["--num-context-frames", *map(str, config["num_context_frames"])]
    plan = [*context, "--num-target-frames", str(config["num_denoised_frames"])]
    refused(capsys, command, "plan framepack_latents needs --num-context-frames and --num-target-frames")
    refused(capsys, [*command, *context], "plan framepack_latents needs --num-target-frames")
    refused(capsys, [*command, *plan, "--windows", "1", "2"], "--windows is no parameter of framepack_latents")
    refused(capsys, [*command, *plan, "--plan", "framepack"], "the weights are those of the FramePack baseline")
    wrong = ["--num-context-frames", "1", *context[1:], "--num-target-frames", "1"]
    refused(capsys, [*command, *wrong], f"num_context_frames has {config['num_levels'] + 1} levels")
    assert not (tmp_path / "ours.ckpt").exists()

    assert main([*command, *plan]) == 0
    module, _ = load_diffusion(tmp_path / "ours.ckpt")
    assert family_to_dict(module.family) == {
        "family": "framepack_latents",
        "num_context_frames": config["num_context_frames"],
        "num_target_frames": config["num_denoised_frames"],
    }
    given = batch(numbers)
    x_t, split = given.arrays["x_t"], given.layout.num_context_tokens
    state = module.denoiser.prepare(given.layout, x_t[:, :split], given.t[:, 0], given.actions)
    assert_agrees(module.denoiser.denoise(state, x_t[:, split:], given.t[:, -1]), given.arrays["v"], 1e-5, "v")
