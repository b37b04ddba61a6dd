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
from mstv.metrics.revisit_consistency import SEEN_IN, SIDES
from mstv.metrics.revisits import AWAY, GAPS
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


def shuffled(num_frames: int, context: int) -> np.ndarray:
    return np.r_[:context, context + np.random.default_rng(0).permutation(num_frames - context)]


def test_scores_are_of_the_named_frames():
    true, poses = walk(swings(10, 12, 20))
    generator = torch.Generator().manual_seed(0)
    video = (true + 0.1 * torch.randn(true.shape, generator=generator)).clamp(0, 1)
    found, order = find_revisits(poses, context=10), shuffled(len(true), 10)
    scores = revisit_scores(FramePSNR(), video, true, found, order)
    assert tuple(scores) == SIDES
    assert all(len(values) == len(found.frame) > 40 for values in scores.values())
    for row in (0, 17, len(found.frame) - 1):
        frame, earlier, elsewhere = (int(column[row]) for column in found[:3])
        sides = [(video, frame, true, frame), (video, frame, video, earlier), (video, frame, video, elsewhere)]
        sides += [(true, frame, true, earlier), (true, frame, true, elsewhere)]
        sides += [(true, order[frame], true, order[earlier])]
        for side, (a, i, b, j) in zip(SIDES, sides, strict=True):
            expected = frame_psnr(a[None, i : i + 1], b[None, j : j + 1]).item()
            assert scores[side][row] == pytest.approx(expected, rel=1e-5)
    assert (scores["own", "upper_bound"] == 100).all()  # poses are exact


@pytest.mark.parametrize("metric", [FramePSNR(), FrameSSIM()], ids=lambda metric: metric.name)
def test_table_is_of_episode_means_by_gap_over_the_latest_pairs(metric):
    table, episodes = RevisitConsistency(metric), []
    for world in range(2):
        true, poses = walk(swings(10, 12, 20, 40)[: 400 - 100 * world], world=world)
        video = (true * 0.9 + 0.05 * (1 + world)).clamp(0, 1)
        video[40:60] = true[40:60]  # some pairs are identical
        found, order = find_revisits(poses, context=10), shuffled(len(true), 10)
        table.update(video, true, found, order)
        latest = found.select(found.latest)
        episodes.append((latest, revisit_scores(metric, video, true, latest, order)))
    result = table.compute()
    assert result.num_pairs[2].sum() == sum(len(latest.frame) for latest, _ in episodes)
    for index, first in enumerate(GAPS):
        last = GAPS[index + 1] if index + 1 < len(GAPS) else np.inf
        for place, seen_in in enumerate(SEEN_IN):
            for number, side in enumerate(SIDES):
                means, count = [], 0
                for latest, scores in episodes:
                    chosen = (latest.gap >= first) & (latest.gap < last)
                    if seen_in != "anywhere":
                        chosen &= latest.in_context == (seen_in == "context")
                    count += chosen.sum()
                    if chosen.any():
                        values = scores[side][chosen].astype(np.float64)
                        means.append((10 ** (-values / 10) if metric.name == "psnr" else values).mean())
                assert result.num_pairs[place, index] == count and result.num_episodes[place, index] == len(means)
                found_mean = result.mean[number, place, index]
                if not means:
                    assert np.isnan(found_mean)
                    continue
                expected = -10 * np.log10(np.mean(means)) if metric.name == "psnr" else np.mean(means)
                np.testing.assert_allclose(found_mean, expected, rtol=1e-6)
    assert (result.num_pairs > 0).sum() >= 6
    assert table.card()["name"] == f"revisit_{metric.name}"


def test_episodes_without_revisits_and_metrics_of_motion():
    true, poses = walk(np.arange(12) * 3)
    metric = RevisitConsistency(FramePSNR())
    metric.update(true, true, find_revisits(poses, context=2), np.arange(12))
    assert np.isnan(metric.compute().mean).all()
    with pytest.raises(ValueError, match="neighbouring frames"):
        RevisitConsistency(FrameFrozen())
    with pytest.raises(ValueError, match="neighbouring frames"):
        revisit_scores(FrameFrozen(), true, true, find_revisits(poses, context=2), np.arange(12))


def test_the_smallest_gap_is_the_first_bin():
    yaw = [0.0] + [90.0] * AWAY + [0.0]
    found = find_revisits(poses_of(yaw), context=1)
    assert found.gap.min() == GAPS[0] == 8
    assert not len(find_revisits(poses_of([0.0] + [90.0] * (AWAY - 1) + [0.0]), context=1).frame)
