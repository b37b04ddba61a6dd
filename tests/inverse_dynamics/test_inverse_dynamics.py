"""The inverse-dynamics model learns what moved, says what it is unsure of, and comes back from its checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mstv import checkpoint
from mstv.data.clips import ClipBatch
from mstv.errors import UserError
from mstv.inverse_dynamics.module import KIND, InverseDynamicsModule, load_inverse_dynamics, predict_actions
from mstv.levels import Levels
from mstv.optimiser import Optimiser

LEVELS = Levels((16, 16), (4, 4), 2)
DISCRETE = {"action_kind": "discrete", "action_names": ("still", "left", "right")}
VECTOR = {
    "action_kind": "vector",
    "action_names": ("flash", "pan"),
    "action_units": ("0/1", "pixels"),
    "action_scale": (0.5, 2.0),
}


def videos(count: int, frames: int, seed: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Squares that are panned by -2, 0 or 2 pixels a frame, now and then with a light: frames, pans, lights."""
    rng = np.random.default_rng(seed)
    made, pans, lights = [], [], []
    for _ in range(count):
        ground = rng.random((3, 4, 4)).repeat(4, 1).repeat(4, 2)
        pan, light = rng.integers(-1, 2, frames) * 2, rng.random(frames) < 0.3
        place = np.cumsum(pan)
        made.append(np.stack([np.roll(ground, p, 2) * 0.8 + 0.2 * on for p, on in zip(place, light, strict=True)]))
        pans.append(pan)
        lights.append(light)
    return torch.from_numpy(np.stack(made)).float(), np.stack(pans), np.stack(lights)


def train(module: InverseDynamicsModule, vector: bool, steps: int = 80) -> None:
    frames, pans, lights = videos(16, 17, 0)
    optimiser = torch.optim.AdamW(module.parameters(), 3e-3)
    for step in range(steps):
        at = np.random.default_rng(step).integers(1, 17, 16)
        rows = np.arange(16)
        clips = torch.stack([frames[rows, at - 1], frames[rows, at]], 1)
        pan, light = pans[rows, at], lights[rows, at]
        actions = np.stack([light, pan], 1).astype(np.float32) if vector else (pan // 2) % 3
        batch = ClipBatch(clips, torch.from_numpy(actions), index=step)
        loss = module.training_step(batch, step)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def make(**options: object) -> InverseDynamicsModule:
    return InverseDynamicsModule(LEVELS, clip_frames=2, width=8, optimiser=Optimiser(), **options)  # type: ignore[arg-type]


def test_it_learns_which_way_a_picture_moved() -> None:
    module = make(**DISCRETE)
    train(module, vector=False)
    frames, pans, _ = videos(1, 64, 1)
    told = predict_actions(module.model.eval(), frames[0], 1)
    assert told.shape == (63,) and (told == (pans[0, 1:] // 2) % 3).mean() > 0.8
    shuffled = predict_actions(module.model, frames[0][torch.randperm(64)], 1)
    assert (shuffled == (pans[0, 1:] // 2) % 3).mean() < 0.6


def test_it_learns_columns_in_their_units() -> None:
    module = make(**VECTOR)
    train(module, vector=True, steps=150)
    frames, pans, _ = videos(1, 64, 1)
    told = predict_actions(module.model.eval(), frames[0], 1)
    assert told.shape == (63, 2) and set(np.unique(told[:, 0])) <= {0.0, 1.0}
    assert np.abs(told[:, 1] - pans[0, 1:]).mean() < 1.1
    assert np.corrcoef(told[:, 1], pans[0, 1:])[0, 1] > 0.8


def test_null_actions_cost_nothing_and_teach_nothing() -> None:
    module = make(**DISCRETE)
    clips = torch.rand(4, 2, 3, 16, 16)
    outputs = module.training_step(ClipBatch(clips, torch.tensor([-1, 0, 1, -1])), 0)
    assert outputs["losses"][0] == outputs["losses"][3] == 0 and (outputs["losses"][1:3] > 0).all()


def test_blur_follows_from_seed_and_batch_alone() -> None:
    module, clips = make(**DISCRETE, blur=4.0), torch.rand(2, 2, 3, 16, 16)
    actions = torch.zeros(2, dtype=torch.long)
    module._trainer = None
    one, same, other = (module._blurred(ClipBatch(clips, actions, index=index)) for index in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other) and one.shape == clips.shape
    assert one.var() < clips.var()


def test_predictions_of_a_video_do_not_depend_on_where_it_is_cut() -> None:
    module = make(**DISCRETE)
    frames = torch.rand(90, 3, 16, 16)
    whole = predict_actions(module.model.eval(), frames, 1)
    assert np.array_equal(predict_actions(module.model, frames, 40), whole[39:])
    with pytest.raises(ValueError, match="first"):
        predict_actions(module.model, frames, 0)


def test_it_comes_back_from_its_checkpoint(tmp_path: Path) -> None:
    module = make(**VECTOR)
    path = tmp_path / "model.ckpt"
    checkpoint.write_weights(path, KIND, module.config, module.state_dict())
    model, size, sha256 = load_inverse_dynamics(path)
    clips = torch.rand(2, 2, 3, 16, 16)
    assert torch.equal(model(clips), module.model(clips)) and size == (16, 16) and len(sha256) == 64
    assert model.actions == module.model.actions
    checkpoint.write_weights(path, "tokenizer", module.config, module.state_dict())
    with pytest.raises(UserError, match="inverse_dynamics"):
        load_inverse_dynamics(path)


def test_flops_are_those_of_forward_and_backward() -> None:
    module = make(**DISCRETE)
    batch = ClipBatch(torch.rand(3, 2, 3, 16, 16), torch.zeros(3, dtype=torch.long))
    first = 2 * 64 * 8 * (6 * 25)  # 8 x 8 places, 8 channels of 6 x 5 x 5
    assert module.training_flops(batch) % 9 == 0 and module.training_flops(batch) > 9 * first
    assert module.num_samples(batch) == 3 and module.num_tokens(batch) == 6
