"""Scores of an episode: each is the metric of the named frames, and the instrument can tell what is wrong."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from mstv.data.results import SCORES, EpisodeCurves, GroundTruth, Series, episode_curves
from mstv.evaluation.distances import distances, episode_features
from mstv.evaluation.episode import Episode
from mstv.evaluation.episode_scoring import score_episode
from mstv.evaluation.metric_set import METRICS, default_metrics, load_metric, metric_set
from mstv.metrics import DINOv2, FrameDINO, FrameFrechet, FrameLPIPS, HorizonMetric, VideoFrechet, frame_psnr, frozen
from tests.metrics.scenes import blurred, swings, walk
from tests.metrics.test_dino import small
from tests.metrics.test_distribution import Pooled
from tests.metrics.test_lpips import network

CONTEXT, SPAN = 4, 32
YAW = swings(18)[: CONTEXT + SPAN]


def tokens(video: Tensor) -> Tensor:
    """(T, 3, H, W) as latents (T, 4, 4, 3): a stand-in for an encoder."""
    return torch.nn.functional.adaptive_avg_pool2d(video, 4).permute(0, 2, 3, 1)


def episode_of(generated: Tensor, true: Tensor, decoded: Tensor, key: str = "walk-0") -> Episode:
    made = torch.cat([decoded[:CONTEXT], generated[CONTEXT:]])
    return Episode(key, CONTEXT, made, decoded, true, tokens(made), tokens(decoded))


def true_and_decoded(world: int = 0) -> tuple[Tensor, Tensor]:
    """The decoder adds a little noise."""
    true, _ = walk(YAW, world)
    return true, (true + 0.02 * torch.randn(true.shape, generator=torch.Generator().manual_seed(world))).clamp(0, 1)


def plain_metrics() -> list[HorizonMetric]:
    loaded = [load_metric(name, None) for name in default_metrics()]
    return [metric for metric in loaded if isinstance(metric, HorizonMetric)]


def test_each_score_is_the_metric_of_the_named_frames() -> None:
    true, decoded = true_and_decoded()
    episode = episode_of(blurred(decoded, 1), true, decoded)
    table = score_episode(episode, plain_metrics(), seed=3)
    assert table.schema.equals(SCORES)
    order = episode.shuffled(3)
    assert sorted(order.tolist()) == list(range(CONTEXT, CONTEXT + SPAN)) and order.tolist() != sorted(order.tolist())
    shuffled, kept = decoded[order], slice(CONTEXT, None)
    videos = {"generated": episode.generated[kept], "upper_bound": decoded[kept], "lower_bound": shuffled}

    def curves(metric: str, truth: GroundTruth, series: Series) -> EpisodeCurves | None:
        return episode_curves(table, metric, truth, series)

    for series, video in videos.items():
        for truth, frames in (("raw", true[kept]), ("decoded", decoded[kept])):
            found = curves("psnr", truth, series)
            if truth == "decoded" and series == "upper_bound":
                assert found is None
                continue
            assert found is not None and found.horizon.tolist() == list(range(1, SPAN + 1))
            np.testing.assert_allclose(found.values[0], frame_psnr(video[None], frames[None])[0], rtol=1e-5)
    still = curves("frozen", "raw", "generated")
    assert still is not None
    for truth, frames in (("raw", true), ("decoded", decoded)):
        worst = curves("frozen", truth, "lower_bound")  # shuffled frames would say nothing of time
        held = decoded[CONTEXT - 1].expand(SPAN, -1, -1, -1)
        assert worst is not None and np.array_equal(worst.values[0], frozen(held[None], frames[None, kept])[0])
        assert worst.values.mean() > 0.5
    assert np.array_equal(still.values[0], frozen(episode.generated[None, kept], true[None, kept])[0])
    drift, best = (curves("token_drift", "latents", series) for series in ("generated", "upper_bound"))
    assert drift is not None and best is not None and (best.values == 0).all() and (drift.values > 0).all()


def shuffled(video: Tensor) -> Tensor:
    return video[torch.randperm(len(video), generator=torch.Generator().manual_seed(1))]


def drifted(video: Tensor) -> Tensor:
    share = torch.linspace(0, 0.5, len(video))[:, None, None, None]
    return video * (1 - share) + share * torch.tensor([1.0, 0.5, 0.0])[:, None, None]


def stopped(video: Tensor) -> Tensor:
    return video[torch.arange(len(video)).clamp(max=8)]


SAME = {"psnr", "ssim", "lpips_alexnet", "dino_custom", "keypoint_matches"}
"""Metrics that tell whether a frame is the true one."""
SEEN_BY: dict[Callable[[Tensor], Tensor], set[str]] = {
    lambda video: blurred(video, 3): SAME | {"sharpness"},
    shuffled: SAME | {"colour_drift", "token_drift"},
    drifted: (SAME - {"keypoint_matches"}) | {"colour_drift", "token_drift"},
    stopped: SAME | {"frozen", "colour_drift", "token_drift"},
}
"""Degradations, and the metrics that must see them."""


@pytest.mark.parametrize("damage", SEEN_BY, ids=["blur", "shuffle", "drift", "freeze"])
def test_the_instrument_can_tell(damage: Callable[[Tensor], Tensor]) -> None:
    true, decoded = true_and_decoded()
    metrics = [*plain_metrics(), FrameLPIPS(network("alexnet")), FrameDINO(small())]
    table = score_episode(episode_of(damage(decoded), true, decoded), metrics, seed=0)
    for metric in metrics:
        truth: GroundTruth = "latents" if metric.name == "token_drift" else "raw"
        ours, best = (episode_curves(table, metric.name, truth, series) for series in ("generated", "upper_bound"))
        assert ours is not None and best is not None
        sign = {True: 1, False: -1, None: 1}[metric.higher_is_better]
        late = slice(SPAN // 2, None)  # what drifts is not wrong yet in the beginning
        loss = sign * (best.values[0, late] - ours.values[0, late]).mean()
        if metric.name in SEEN_BY[damage]:
            assert loss > best.values[0, late].std() + 1e-5, metric.name
    if damage is drifted:
        colour = episode_curves(table, "colour_drift", "raw", "generated")
        assert colour is not None and (np.diff(colour.values[0]) > 0).mean() > 0.9, "the more, the later"
    if damage is stopped:
        still = episode_curves(table, "frozen", "raw", "generated")
        assert still is not None and not still.values[0, :4].any() and still.values[0, 16:].all()


def test_distances_are_those_of_the_metrics_over_all_episodes() -> None:
    kinds = [kind(Pooled(), (16, SPAN), 16) for kind in (FrameFrechet, VideoFrechet)]
    parts = [true_and_decoded(world) for world in range(4)]
    worse = [episode_of(drifted(decoded), true, decoded, f"walk-{w}") for w, (true, decoded) in enumerate(parts)]
    features = [episode_features(episode, kinds, seed=0) for episode in worse]
    for metric in kinds:
        found = {(value.ground_truth, value.series): value for value in distances(metric, features)}
        assert set(found) == {
            *(("raw", series) for series in ("generated", "upper_bound", "lower_bound")),
            *(("decoded", series) for series in ("generated", "lower_bound")),
        }
        metric.reset()
        made, true = (
            torch.stack([side[CONTEXT:] for side in sides])
            for sides in zip(*((episode.generated, episode.recorded) for episode in worse), strict=True)
        )
        metric.update(made, true, torch.arange(1, SPAN + 1))
        ours = found["raw", "generated"]
        np.testing.assert_allclose([window.value for window in ours.horizons], metric.compute().distance, atol=1e-6)
        assert [(window.first, window.horizon) for window in ours.horizons] == [(1, 16), (SPAN - 15, SPAN)]
        assert ours.horizons[0].value < ours.horizons[1].value, "it drifts"
        best = found["raw", "upper_bound"]
        assert all(a.value < b.value for a, b in zip(best.horizons, ours.horizons, strict=True))


def test_the_set_knows_every_name() -> None:
    loaded = [(name, load_metric(name, None)) for name in default_metrics()]
    made = metric_set([*loaded, ("fid", Pooled())], horizons=(1, 16, SPAN))
    assert [card["name"] for card in made.cards] == [*default_metrics(), "fid"]
    assert made.distances[0].horizons == (16, SPAN)
    assert [metric.name for metric in made.only({"ssim", "fid"}).frame] == ["ssim"]
    assert set(default_metrics()) < set(METRICS)
    networks = [FrameLPIPS(network("alexnet")), FrameDINO(DINOv2(24, 2, 3, name="dinov2_vits14"))]
    assert [metric.name for metric in networks] == ["lpips_alexnet", "dino_vits14"]
