"""Revisits found from poses, and what they are scored as."""

import numpy as np
import pytest
import torch

from mstv.metrics import (
    FrameFrozen,
    FramePSNR,
    FrameSSIM,
    RevisitConsistency,
    find_revisits,
    frame_psnr,
    revisit_scores,
)
from mstv.metrics.revisit_consistency import GAPS, REFERENCES
from tests.metrics.scenes import swings, walk


def poses_of(yaw: list[float] | np.ndarray) -> np.ndarray:
    poses = np.zeros((len(yaw), 5), np.float32)
    poses[:, 3] = yaw
    return poses


def test_look_away_and_look_back():
    yaw = [0.0] * 5 + [90.0] * 10 + [0.0] * 3
    found = find_revisits(poses_of(yaw), context=4, away=8)
    assert found.frame.tolist() == [15, 16, 17]
    assert found.earlier.tolist() == [4, 4, 4]  # of equal poses the most recent
    assert found.gap.tolist() == [11, 12, 13]
    assert found.absent.tolist() == [11, 11, 11]  # it stays
    assert not found.in_context.any()
    assert find_revisits(poses_of(yaw), context=5).in_context.all()
    assert all(5 <= other < 15 for other in found.elsewhere)
    assert not len(find_revisits(poses_of(yaw), context=4, away=11).frame)  # away for ten frames alone
    assert len(find_revisits(poses_of(yaw), context=16).frame) == 2


def test_every_earlier_visit_is_a_pair_and_the_latest_is_marked():
    yaw = [0.0] * 2 + [90.0] * 8 + [0.0] * 2 + [90.0] * 8 + [0.0]
    found = find_revisits(poses_of(yaw), context=3)
    last = found.select(found.frame == 20)
    assert last.earlier.tolist() == [1, 11]
    assert last.in_context.tolist() == [True, False]
    assert last.latest.tolist() == [False, True]
    assert last.absent.tolist() == [19, 9]


def test_tolerances_and_the_turn_of_the_angle():
    def revisited(**change: float) -> bool:
        poses = poses_of([359.0] + [180.0] * 8 + [359.0])
        for name, value in change.items():
            poses[-1, ["x", "y", "z", "yaw", "pitch"].index(name)] = value
        return 9 in find_revisits(poses, context=1).frame

    assert revisited()
    assert revisited(yaw=1.0) and not revisited(yaw=2.0)  # 2 and 3 degrees apart
    assert revisited(pitch=-2.4) and not revisited(pitch=-2.6)
    assert revisited(x=0.2) and not revisited(x=0.2, z=0.2)


def test_the_nearest_pose_of_a_visit_is_taken():
    yaw = [2.0, 0.5, 1.5] + [90.0] * 8 + [0.0]
    assert find_revisits(poses_of(yaw), context=3).earlier.tolist() == [1]


def test_agrees_with_a_plain_search():
    random = np.random.default_rng(0)
    poses = np.zeros((120, 5), np.float32)
    poses[:, 0] = np.cumsum(random.integers(-1, 2, 120))
    poses[:, 3] = np.cumsum(random.integers(-1, 2, 120) * 30) % 360
    found = find_revisits(poses, context=30, away=2)
    pairs = set(zip(found.frame.tolist(), found.earlier.tolist(), strict=True))
    expected = set()
    for frame in range(30, 120):
        since, current, visit = 0, True, None
        for earlier in range(frame - 1, -1, -1):
            if (poses[earlier] == poses[frame]).all():
                current = current and since < 2
                if not current and (visit is None or since >= 2):
                    expected.add((frame, earlier))  # walking backwards, the first of a visit is its latest
                    visit = earlier
                since = 0
            else:
                since += 1
    assert pairs == expected
    assert len(pairs) > 50
    assert (poses[found.elsewhere] != poses[found.frame]).any(1).all()


@pytest.mark.parametrize(
    ("poses", "context", "options", "message"),
    [
        (np.zeros((4, 3)), 1, {}, r"poses are \(4, 3\)"),
        (np.full((4, 5), np.nan), 1, {}, "finite"),
        (np.zeros((4, 5)), 5, {}, r"1\.\.4"),
        (np.zeros((4, 5)), 0, {}, r"1\.\.4"),
        (np.zeros((4, 5)), 1, {"angle_tolerance": 0.0}, "must be positive"),
    ],
)
def test_bad_poses_are_refused(poses, context, options, message):
    with pytest.raises(ValueError, match=message):
        find_revisits(poses, context, **options)


def test_scores_are_of_the_named_frames():
    true, poses = walk(swings(10, 12, 20))
    generator = torch.Generator().manual_seed(0)
    video = (true + 0.1 * torch.randn(true.shape, generator=generator)).clamp(0, 1)
    found = find_revisits(poses, context=10)
    scores = revisit_scores(FramePSNR(), video, true, found)
    assert tuple(scores) == REFERENCES
    assert all(len(values) == len(found.frame) > 40 for values in scores.values())
    for row in (0, 17, len(found.frame) - 1):
        frame, earlier, elsewhere = (int(column[row]) for column in found[:3])
        sides = [(video, frame, true, frame), (video, frame, video, earlier), (video, frame, video, elsewhere)]
        sides += [(true, frame, true, earlier), (true, frame, true, elsewhere)]
        for reference, (a, i, b, j) in zip(REFERENCES, sides, strict=True):
            expected = frame_psnr(a[None, i : i + 1], b[None, j : j + 1]).item()
            assert scores[reference][row] == pytest.approx(expected, rel=1e-5)
    assert (scores["upper_bound"] == 100).all()  # poses are exact


def test_table_is_the_mean_by_gap_over_the_latest_pairs():
    true, poses = walk(swings(10, 12, 20, 40))
    video = (true * 0.9 + 0.05).clamp(0, 1)
    found = find_revisits(poses, context=10)
    metric = RevisitConsistency(FrameSSIM())
    metric.update(video, true, found)
    table = metric.compute()
    latest = found.select(found.latest)
    scores = revisit_scores(FrameSSIM(), video, true, latest)
    assert table.num_pairs.sum() == len(latest.frame)
    for index, first in enumerate(GAPS):
        last = GAPS[index + 1] if index + 1 < len(GAPS) else np.inf
        for place, given in enumerate((True, False)):
            chosen = (latest.gap >= first) & (latest.gap < last) & (latest.in_context == given)
            assert table.num_pairs[place, index] == chosen.sum()
            if chosen.any():
                np.testing.assert_allclose(table.mean[1, place, index], scores["own"][chosen].mean(), rtol=1e-5)
            else:
                assert np.isnan(table.mean[:, place, index]).all()
    assert (table.num_pairs > 0).sum() >= 4
    assert metric.card()["name"] == "revisit_ssim"


def test_episodes_without_revisits_and_metrics_of_motion():
    true, poses = walk(np.arange(12) * 3)
    metric = RevisitConsistency(FramePSNR())
    metric.update(true, true, find_revisits(poses, context=2))
    assert np.isnan(metric.compute().mean).all()
    with pytest.raises(ValueError, match="neighbouring frames"):
        RevisitConsistency(FrameFrozen())
    with pytest.raises(ValueError, match="neighbouring frames"):
        revisit_scores(FrameFrozen(), true, true, find_revisits(poses, context=2))
