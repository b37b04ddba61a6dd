"""The instrument can tell: each metric sees the damage that it is for, and more damage as more."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mstv.metrics import (
    FrameColour,
    FrameDINO,
    FrameFrechet,
    FrameFrozen,
    FrameKeypoints,
    FrameLPIPS,
    FramePSNR,
    FrameSharpness,
    FrameSSIM,
    HorizonMetric,
    RevisitConsistency,
    RevisitTable,
    VideoFrechet,
    find_revisits,
    revisit_scores,
)
from mstv.metrics.revisit_consistency import SIDES
from mstv.metrics.revisits import GAPS
from tests.metrics.scenes import SIZE, blurred, look, swings, walk
from tests.metrics.test_dino import small
from tests.metrics.test_distribution import Pooled
from tests.metrics.test_lpips import network


def true_videos(episodes: int, frames: int = 16) -> Tensor:
    yaw = swings(frames // 2)[:frames]
    return torch.stack([walk(yaw + 40 * world, world)[0] for world in range(episodes)])


def shuffled(video: Tensor) -> Tensor:
    return video[:, torch.randperm(video.shape[1], generator=torch.Generator().manual_seed(0))]


def drifted(video: Tensor, amount: float) -> Tensor:
    """Colours that slide towards orange, the more the later."""
    share = torch.linspace(0, amount, video.shape[1])[:, None, None, None]
    return video * (1 - share) + share * torch.tensor([1.0, 0.5, 0.0])[:, None, None]


def noisy(video: Tensor, amount: float) -> Tensor:
    noise = torch.randn(video.shape, generator=torch.Generator().manual_seed(0))
    return (video + amount * noise).clamp(0, 1)


DAMAGES = {
    "blur": [lambda v: blurred(v, 1), lambda v: blurred(v, 6)],
    "shuffle": [lambda v: torch.cat([v[:, :-4], shuffled(v[:, -4:])], 1), shuffled],
    "drift": [lambda v: drifted(v, 0.2), lambda v: drifted(v, 0.7)],
    "noise": [lambda v: noisy(v, 0.05), lambda v: noisy(v, 0.3)],
}
"""Two degrees of each."""


def make(name: str) -> HorizonMetric:
    if name == "keypoint_matches":
        pytest.importorskip("cv2")
        return FrameKeypoints()
    builders = {
        "psnr": FramePSNR,
        "ssim": FrameSSIM,
        "lpips_vgg16": lambda: FrameLPIPS(network("vgg16")),
        "lpips_alexnet": lambda: FrameLPIPS(network("alexnet")),
        "dino": lambda: FrameDINO(small()),
    }
    return builders[name]()


EVERY = ["psnr", "ssim", "lpips_vgg16", "lpips_alexnet", "dino", "keypoint_matches"]
"""Metrics that tell what a frame shows."""


@pytest.mark.parametrize("name", EVERY)
def test_more_damage_scores_worse(name):
    metric, true = make(name), true_videos(episodes=1, frames=12)
    sign = 1 if metric.higher_is_better else -1
    clean = sign * metric.measure(true, true).mean().item()
    for damage, (little, much) in DAMAGES.items():
        scores = [sign * metric.measure(damaged(true), true).mean().item() for damaged in (little, much)]
        assert clean > scores[0] > scores[1], damage


def test_frechet_distances_see_what_each_is_for():
    true, other = true_videos(episodes=8), true_videos(episodes=16)[8:]
    for kind in (FrameFrechet, VideoFrechet):
        distances = {}
        for damage, degrees in {"same": [lambda v: v], "other": [lambda v: other], **DAMAGES}.items():
            distances[damage] = []
            for damaged in degrees:
                metric = kind(Pooled(), horizons=(16,))
                metric.update(damaged(true), true, torch.arange(1, 17))
                distances[damage].append(float(metric.compute().distance[0]))
        assert distances["same"][0] == pytest.approx(0, abs=1e-9)
        for damage in ("blur", "drift", "noise"):
            assert 1e-9 < distances[damage][0] < distances[damage][1], damage
        assert distances["drift"][1] > distances["other"][0]  # other worlds of the same kind are nearer
        if kind is FrameFrechet:
            assert distances["shuffle"][1] == pytest.approx(0, abs=1e-9)  # blind to the order, as it must be
        else:
            assert distances["shuffle"][1] > distances["shuffle"][0] > 1e-9


def test_drift_metrics_see_their_own_damage_and_no_other():
    true = true_videos(episodes=1, frames=24)
    sharpness, colour, freezing = FrameSharpness(), FrameColour(), FrameFrozen()
    soft = [sharpness.measure(blurred(true, passes), true).mean().item() for passes in (0, 1, 6)]
    assert soft[0] == 0 and soft[0] > soft[1] > soft[2] < -3
    assert sharpness.measure(noisy(true, 0.2), true).mean() > 1
    curve = colour.measure(drifted(true, 0.5), true)[0]
    assert curve[0] == 0 and (curve.diff() > 0).float().mean() > 0.9 and curve[-1] > 0.1
    assert colour.measure(blurred(true, 1), true).max() < 0.1 * curve[-1]
    stopped = true.clone()
    stopped[:, 8:] = true[:, 8:9]
    assert freezing.measure(stopped, true)[0, 16:].all()
    for damaged in (blurred(true, 6), drifted(true, 0.5), noisy(true, 0.05)):
        assert not freezing.measure(damaged, true).any()


# A model that forgets against one that drifts.

CONTEXT, MEMORY = 20, 32
YAW = swings(*[10, 10, 60] * 3)
"""Looks away for a short and for a long while, again and again."""
ORDER = np.r_[:CONTEXT, CONTEXT + np.random.default_rng(0).permutation(len(YAW) - CONTEXT)]


def forgetful(yaw: np.ndarray) -> Tensor:
    """Remembers a place for `MEMORY` frames; then another world is there."""
    seen: dict[int, tuple[int, int]] = {}
    frames = []
    for frame, angle in enumerate(yaw):
        before, world = seen.get(angle, (frame, 0))
        if frame >= CONTEXT and frame - before > MEMORY:
            world = 1000 + frame
        seen[angle] = (frame, world)
        frames.append(look(world, angle))
    return torch.stack(frames)


def drifting(yaw: np.ndarray, amount: float = 0.6) -> Tensor:
    """Remembers every place, but its colours slide."""
    true, _ = walk(yaw)
    return torch.cat([true[:CONTEXT], drifted(true[None, CONTEXT:], amount)[0]])


def table(video: Tensor) -> tuple[RevisitTable, dict[str, np.ndarray]]:
    """Means of the generated places, and the bins that hold pairs."""
    true, poses = walk(YAW)
    found = find_revisits(poses, CONTEXT)
    metric = RevisitConsistency(FrameSSIM())
    metric.update(video, true, found, ORDER)
    result = metric.compute()
    own = result.num_pairs[1] > 0
    first = np.array(GAPS)[own]
    values = {" ".join(side): result.mean[index, 1, own] for index, side in enumerate(SIDES)}
    return result, values | {"first": first}


def test_revisits_separate_forgetting_from_drifting():
    true, _ = walk(YAW)
    forgets, drifts = (table(video)[1] for video in (forgetful(YAW), drifting(YAW)))
    assert forgets["first"].tolist() == drifts["first"].tolist()
    short, long = forgets["first"] < MEMORY, forgets["first"] >= MEMORY
    assert short.sum() >= 2 and long.sum() >= 2
    np.testing.assert_allclose(forgets["own upper_bound"], 1, atol=1e-6)

    # The one that forgets: perfect within its memory, beyond it no better than any other place.
    models = {"f": forgets, "d": drifts}
    memory = {name: values["own generated"] - values["elsewhere generated"] for name, values in models.items()}
    np.testing.assert_allclose(forgets["own generated"][short], 1, atol=1e-6)
    assert np.abs(memory["f"][long]).max() < 0.1
    # The one that drifts: worse the longer ago, but it knows every place again, however long ago.
    assert (np.diff(drifts["own generated"]) < 0).all()
    assert memory["d"].min() > 0.3
    # Against the truth alone they cannot be told: both are bad late in the video.
    late = slice(len(YAW) * 2 // 3, None)
    for video in (forgetful(YAW), drifting(YAW)):
        psnr = FramePSNR().measure(video[None, late], true[None, late]).mean()
        assert psnr < 20


@pytest.mark.parametrize("name", EVERY)
def test_a_wrong_revisit_is_seen_where_it_is(name):
    metric = make(name)
    true, poses = walk(YAW)
    found = find_revisits(poses, CONTEXT)
    latest = found.select(found.latest)
    wrong = true.clone()
    damaged = latest.frame[latest.gap >= 64]
    wrong[damaged] = torch.stack([look(7, YAW[frame]) for frame in damaged])
    latest = latest.select(np.arange(len(latest.frame)) % 6 == 0)  # of all pairs, enough
    sign = 1 if metric.higher_is_better else -1
    scores = {name: sign * value for name, value in revisit_scores(metric, wrong, true, latest, ORDER).items()}
    long = np.isin(latest.frame, damaged)
    assert long.any() and not long.all()
    kept = ~long & ~np.isin(latest.earlier, damaged)
    best, worst = scores["own", "upper_bound"], scores["own", "lower_bound"]
    np.testing.assert_allclose(scores["own", "generated"][kept], best[kept], atol=1e-6)
    for reference in ("own", "raw"):
        values = scores[reference, "generated"]
        assert values[long].mean() < best[long].mean()
        assert values[kept].mean() - values[long].mean() > 0.5 * (best.mean() - worst.mean())


def test_a_grey_wall_agrees_with_itself_and_gains_nothing_by_it():
    true, _ = walk(YAW)
    grey = torch.cat([true[:CONTEXT], torch.full((len(YAW) - CONTEXT, 3, SIZE, SIZE), 0.5)])
    values = table(grey)[1]
    np.testing.assert_allclose(values["own generated"], 1, atol=1e-6)
    # A few other places lie in the context.
    assert (values["own generated"] - values["elsewhere generated"]).max() < 0.2
