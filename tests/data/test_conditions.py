"""Actions and poses as conditions, and the statistics of latents."""

import numpy as np
import pytest
import torch

from mstv.data.conditions import NUM_POSE_FEATURES, Conditions, pose_features
from mstv.data.latent_statistics import latent_statistics
from mstv.data.latents import LatentsDataModule
from mstv.errors import UserError
from mstv.rollout.coarse_to_fine import CoarseToFine
from tests.data.conftest import LEVELS, LatentSet, latent_sample, write_latent_set


def test_products_of_features_depend_on_the_difference_of_poses_alone() -> None:
    rng = np.random.default_rng(0)
    one, other, away = (rng.normal(0, 20, (50, 5)) for _ in range(3))
    near = pose_features(one) * pose_features(other)
    moved = pose_features(one + away) * pose_features(other + away)
    assert near.shape == (50, NUM_POSE_FEATURES)
    np.testing.assert_allclose(near.sum(1), moved.sum(1), atol=1e-3)
    # The product is greatest where both are the same, and a turn of 360 degrees is none.
    assert (near.sum(1) < NUM_POSE_FEATURES / 2 - 1).all()
    np.testing.assert_allclose(pose_features(one), pose_features(one + np.array([0, 0, 0, 360, 0])), atol=1e-5)


def test_half_a_block_and_ten_degrees_are_told_apart() -> None:
    pose = np.zeros((1, 5))
    for axis, step in ((0, 0.5), (1, 0.5), (2, 0.5), (3, 10), (4, 10)):
        other = pose.copy()
        other[0, axis] = step
        assert np.abs(pose_features(pose) - pose_features(other)).max() > 0.6


def test_batches_and_rollouts_get_the_features_of_the_same_frames(latent_set: LatentSet) -> None:
    plan = CoarseToFine([1, 2, 4], 16)
    data = LatentsDataModule(latent_set[0], plan, LEVELS, batch_size=2, num_workers=0, conditions="poses")
    assert (data.action_kind, data.num_actions) == ("vector", NUM_POSE_FEATURES)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.actions is not None and batch.actions.dtype == torch.float32
    frames = np.array(data.plan.steps[batch.step].frames)
    stacked = Conditions(data.store, "poses").stack(batch.keys, 500)
    assert stacked is not None and stacked.shape == (2, 500, NUM_POSE_FEATURES)
    for row, key, start in zip(range(2), batch.keys, batch.starts, strict=True):
        poses = data.store.poses(key)
        assert poses is not None
        expected = torch.from_numpy(pose_features(poses[start + frames]))
        assert torch.equal(batch.actions[row], expected) and torch.equal(stacked[row, start + frames], expected)
        # Beyond the recording there is nothing to go by.
        assert not stacked[row, len(poses) :].any()


def test_episodes_without_poses_are_named(tmp_path) -> None:
    sample = latent_sample("a", 32)
    object.__setattr__(sample, "poses", None)
    made = write_latent_set(tmp_path, {"train-000000.tar": [sample]})
    data = LatentsDataModule(made[0], CoarseToFine([1, 2, 4], 16), LEVELS, 1, 0, conditions="poses")
    data.setup("fit")
    with pytest.raises(UserError, match=r"episode a has no poses: set --data\.conditions actions"):
        next(iter(data.train_dataloader()))


def test_statistics_are_those_of_all_frames(latent_set: LatentSet) -> None:
    store = LatentsDataModule(latent_set[0], CoarseToFine([1, 2, 4], 16), LEVELS).store
    mean, scale = latent_statistics(store)
    for level in range(LEVELS.num_levels):
        # Few and short episodes: every frame is in the sample.
        parts = [store.read(key, level).reshape(-1, store.channels).astype(float) for key in store.keys("train")]
        values = np.concatenate(parts)
        np.testing.assert_allclose(mean[level], values.mean(0), rtol=1e-5)
        np.testing.assert_allclose(scale[level] ** 2, ((values - values.mean(0)) ** 2).mean(), rtol=1e-5)
