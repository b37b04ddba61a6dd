"""The published FramePack baseline: v, loss and names equal the published ones on their own weights."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mstv.diffusion.framepack import FramePackDenoiser
from mstv.diffusion.loss import v_errors
from mstv.diffusion.schedule import NoiseSchedule, add_noise
from mstv.levels import Levels
from mstv.published import PublishedDenoiser, denoiser_state
from mstv.rollout.framepack import FramePackLatents
from mstv.rollout.layout import StepLayout
from mstv.transformer.size import TransformerSize
from tests.reference_numbers import ReferenceNumbers, assert_agrees


@pytest.fixture
def numbers(reference: Path) -> ReferenceNumbers:
    return ReferenceNumbers(reference, "framepack.npz")


def transformer_size(numbers: ReferenceNumbers) -> TransformerSize:
    config = numbers.config
    return TransformerSize(config["hidden_channels"], config["depth"], config["num_heads"], config["mlp_ratio"])


def levels(numbers: ReferenceNumbers) -> Levels:
    height, width = numbers.config["latent_shape"]
    return Levels((height, width), (1, 1), numbers.config["num_levels"])


def build(numbers: ReferenceNumbers) -> FramePackDenoiser:
    config = numbers.config
    denoiser = FramePackDenoiser(
        config["latent_channels"],
        levels(numbers),
        config["num_context_frames"],
        transformer_size(numbers),
        "discrete",
        config["num_actions"],
        attention="joint",
    )
    denoiser.load_state_dict(denoiser_state(numbers.state))
    return denoiser.eval()


@dataclass
class Batch:
    """The batch as our denoiser takes it."""

    layout: StepLayout
    t: Tensor
    """(B, F), context frames at 0."""
    actions: Tensor
    """(B, F), ids."""
    arrays: dict[str, Tensor]
    """(B, N, C), frames oldest first, each row-major; `v` holds the targets alone."""


def batch(numbers: ReferenceNumbers) -> Batch:
    config = numbers.config
    family = FramePackLatents(config["num_context_frames"], config["num_denoised_frames"])
    (step,) = family.plan(levels(numbers).num_tokens(0)).steps
    arrays = {name: numbers[name].permute(0, 1, 3, 4, 2).flatten(1, 3) for name in ("x", "eps", "x_t", "v")}
    return Batch(StepLayout.of(step, levels(numbers)), numbers["t"], numbers["actions"].long(), arrays)


@torch.no_grad()
def test_framepack_denoiser_reference(numbers: ReferenceNumbers) -> None:
    given, denoiser = batch(numbers), build(numbers)
    a, split = given.arrays, given.layout.num_context_tokens
    times = given.t.repeat_interleave(levels(numbers).num_tokens(0), 1)
    assert_agrees(add_noise(NoiseSchedule(), a["x"], a["eps"], times), a["x_t"], 1e-5, "x_t")
    assert (times[:, :split] == 0).all() and (times[:, split:] == times[:, -1:]).all()
    state = denoiser.prepare(given.layout, a["x_t"][:, :split], given.t[:, 0], given.actions)
    for _ in range(2):  # the state serves many evaluations
        assert_agrees(denoiser.denoise(state, a["x_t"][:, split:], given.t[:, -1]), a["v"], 1e-5, "v")


@torch.no_grad()
def test_framepack_loss_reference(numbers: ReferenceNumbers) -> None:
    given = batch(numbers)
    a, t = given.arrays, given.t[:, -1]
    eps = a["eps"].split([given.layout.num_context_tokens, given.layout.num_target_tokens], 1)
    losses = v_errors(build(numbers), NoiseSchedule(), given.layout, a["x"], *eps, t, given.actions)
    assert_agrees(losses.mean(), numbers["loss"], 1e-5, "loss")


def test_framepack_sizes_are_read_off_the_weights_reference(numbers: ReferenceNumbers) -> None:
    config = numbers.config
    expected = PublishedDenoiser(
        size=transformer_size(numbers),
        num_levels=config["num_levels"],
        latent_channels=config["latent_channels"],
        num_actions=config["num_actions"],
        merges_context=config["num_levels"] > 1,
    )
    # A denoiser inside a published checkpoint has one more `dit.` in front.
    nested = {f"dit.{name}": value for name, value in numbers.state.items()}
    for state in (numbers.state, nested):
        renamed = denoiser_state(state)
        assert PublishedDenoiser.of(renamed) == expected
        assert renamed.keys() == build(numbers).state_dict().keys()
