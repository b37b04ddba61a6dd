"""Schedule, denoiser, loss, sampler and guidance equal the published ones on their own weights."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mstv.diffusion.denoiser import Denoiser
from mstv.diffusion.loss import v_errors
from mstv.diffusion.sample_step import Sampling, sample_step
from mstv.diffusion.schedule import NoiseSchedule, add_noise
from mstv.levels import Levels
from mstv.published import PublishedDenoiser, denoiser_state
from mstv.rollout.coarse_to_fine import CoarseToFine
from mstv.rollout.full_resolution import FullResolution
from mstv.rollout.layout import StepLayout
from mstv.rollout.plan import Cell, Step
from mstv.transformer.size import TransformerSize
from tests.reference_numbers import ReferenceNumbers, assert_agrees

CONTEXT, TARGET = 1, 2


@pytest.fixture
def numbers(reference: Path) -> ReferenceNumbers:
    return ReferenceNumbers(reference, "diffusion.npz")


def build(numbers: ReferenceNumbers) -> Denoiser:
    config = numbers.config
    size = TransformerSize(config["hidden_channels"], config["depth"], config["num_heads"], config["mlp_ratio"])
    actions = ("discrete", config["num_actions"])
    denoiser = Denoiser(config["latent_channels"], config["num_levels"], size, *actions, attention="joint")
    denoiser.load_state_dict(denoiser_state(numbers.state))
    return denoiser.eval()


@dataclass
class Sample:
    """One sample of a case, its tokens put in our order: context first, targets last."""

    step: Step
    layout: StepLayout
    order: Tensor
    """(N,) published index of each of our tokens."""
    actions: Tensor
    """(1, F) action of each distinct frame."""
    arrays: dict[str, Tensor]
    """(1, N, ...) arrays of the case in our order."""

    @property
    def num_context(self) -> int:
        return self.layout.num_context_tokens


def samples(numbers: ReferenceNumbers, case: str) -> list[Sample]:
    height, width = numbers.config["latent_shape"]
    levels = Levels((height, width), (1, 1), numbers.config["num_levels"])
    result = []
    for index, (flhw, roles) in enumerate(zip(numbers[f"{case}/indices_flhw"], numbers[f"{case}/roles"], strict=True)):
        rows = [(*place, role) for place, role in zip(flhw.tolist(), roles.tolist(), strict=True)]
        # Published order is level, frame, row, column; ours puts the context first.
        order = torch.tensor(sorted(range(len(rows)), key=lambda i: (rows[i][4], rows[i][1], rows[i][0], rows[i][2:4])))
        cells = {
            role: sorted({Cell(level, frame) for frame, level, _, _, r in rows if r == role})
            for role in (CONTEXT, TARGET)
        }
        step = Step(tuple(cells[CONTEXT]), tuple(cells[TARGET]))
        layout = StepLayout.of(step, levels)
        assert layout.num_tokens == len(rows)
        assert (layout.token_row == flhw[order, 2]).all() and (layout.token_column == flhw[order, 3]).all()
        action = {f: int(a) for f, a in zip(flhw[:, 0].tolist(), numbers[f"{case}/actions"][index], strict=True)}
        arrays = {
            name.split("/")[1]: numbers[name][index, order][None]
            for name in numbers.names(f"{case}/")
            if numbers[name].ndim and "indices" not in name
        }
        actions = torch.tensor([[action[frame] for frame in step.frames]])
        result.append(Sample(step, layout, order, actions, arrays))
    return result


def cases(numbers: ReferenceNumbers) -> list[str]:
    return sorted({name.split("/")[0] for name in numbers.names("case")})


@torch.no_grad()
def test_noise_schedule_reference(reference: Path) -> None:
    numbers = ReferenceNumbers(reference, "noise_schedule.npz")
    shifts = [float(name.removeprefix("logsnr_shift")) for name in numbers.names("logsnr_shift")]
    assert shifts
    for shift in shifts:
        schedule = NoiseSchedule(shift)
        level = schedule.level(numbers["t"])
        assert_agrees(schedule.logsnr(numbers["t"]), numbers[f"logsnr_shift{shift}"], 1e-5, f"logsnr {shift}")
        assert_agrees(level.alpha, numbers[f"alpha_shift{shift}"], 1e-5, f"alpha {shift}")
        assert_agrees(level.sigma, numbers[f"sigma_shift{shift}"], 1e-5, f"sigma {shift}")


@torch.no_grad()
def test_denoiser_reference(numbers: ReferenceNumbers) -> None:
    denoiser = build(numbers)
    for case in cases(numbers):
        for sample in samples(numbers, case):
            a, split = sample.arrays, sample.num_context
            x_t = add_noise(NoiseSchedule(), a["x"], a["eps"], a["t"])
            assert_agrees(x_t, a["x_t"], 1e-5, f"{case} x_t")
            assert (a["t"][:, :split] == 0).all() and (a["t"][:, split:] == a["t"][:, -1:]).all()
            for name, dropped in (("v", False), ("v_unconditional_actions", True)):
                state = denoiser.prepare(
                    sample.layout, a["x_t"][:, :split], a["t"][:, 0], sample.actions, torch.tensor([dropped])
                )
                v = denoiser.denoise(state, a["x_t"][:, split:], a["t"][:, -1])
                assert_agrees(v, a[name][:, split:], 1e-5, f"{case} {name}")


@torch.no_grad()
def test_loss_reference(numbers: ReferenceNumbers) -> None:
    denoiser = build(numbers)
    for case in cases(numbers):
        batch = samples(numbers, case)
        losses = [
            v_errors(
                *(denoiser, NoiseSchedule(), s.layout, s.arrays["x"]),
                *s.arrays["eps"].split([s.layout.num_context_tokens, s.layout.num_target_tokens], 1),
                t=s.arrays["t"][:, -1],
                actions=s.actions,
            ).mean()
            for s in batch
        ]
        assert len({s.layout.num_target_tokens for s in batch}) == 1
        assert_agrees(torch.stack(losses).mean(), numbers[f"{case}/loss"], 1e-5, f"{case} loss")


@torch.no_grad()
@pytest.mark.parametrize(("name", "guidance"), [("ddim5_x", 1.0), ("ddim5_x_guidance1_5", 1.5)])
def test_ddim_reference(numbers: ReferenceNumbers, name: str, guidance: float) -> None:
    denoiser = build(numbers)
    for case in cases(numbers):
        for sample in samples(numbers, case):
            a, split = sample.arrays, sample.num_context
            x = sample_step(
                denoiser,
                NoiseSchedule(),
                sample.layout,
                a["x"][:, :split],
                sample.actions,
                a["eps"],
                Sampling(5, "ddim", guidance),
            )
            assert_agrees(x, a[name][:, split:], 1e-4, f"{case} {name}")


def test_steps_come_from_the_plan_reference(numbers: ReferenceNumbers) -> None:
    parameters = numbers.config["plan"]
    height, width = numbers.config["latent_shape"]
    if parameters["name"] == "millivid":
        family = CoarseToFine(parameters["num_frames_per_level"], parameters["extra_budget"])
    elif parameters["name"] == "baseline":
        family = FullResolution(parameters["num_frames"])
    else:
        pytest.skip(f"plan {parameters['name']}")
    plan = family.plan(height * width)
    offsets = {tuple((c.level, c.frame - s.frames[0]) for c in s.cells) for s in plan.steps}
    for case in cases(numbers):
        for sample in samples(numbers, case):
            step = sample.step
            assert tuple((c.level, c.frame - step.frames[0]) for c in step.cells) in offsets


def test_sizes_are_read_off_the_weights_reference(numbers: ReferenceNumbers) -> None:
    config = numbers.config
    size = TransformerSize(config["hidden_channels"], config["depth"], config["num_heads"], config["mlp_ratio"])
    expected = PublishedDenoiser(size, config["num_levels"], config["latent_channels"], config["num_actions"])
    nested = {f"dit.{name}": value for name, value in numbers.state.items()}
    for state in (numbers.state, nested):
        renamed = denoiser_state(state)
        assert PublishedDenoiser.of(renamed) == expected
        assert renamed.keys() == build(numbers).state_dict().keys()
