"""Metrics of drift and of actions: no damage scores best, a little worse, much worst."""

import numpy as np
import pytest
import torch

from mstv.metrics import FrameColour, FrameFrozen, TokenDrift
from mstv.metrics.action_agreement import ActionAgreement
from tests.metrics.test_degradations import drifted, noisy, true_videos


def test_colour_drift_grows_with_the_drift():
    true, metric = true_videos(episodes=2, frames=12), FrameColour()
    grey = true.mean((2, 3, 4), keepdim=True)
    for damage in (drifted, lambda video, amount: video * (1 - amount) + grey * amount, noisy):
        none, little, much = (metric.measure(damage(true, amount), true).mean().item() for amount in (0, 0.2, 0.7))
        assert none == pytest.approx(0, abs=1e-6) and none + 0.01 < little < 0.7 * much


def test_token_drift_grows_with_the_drift():
    generator = torch.Generator().manual_seed(0)
    true, noise = torch.randn(2, 2, 6, 4, 4, 8, generator=generator)
    metric = TokenDrift()
    damages = {
        "offset": lambda amount: true + amount,
        "one channel": lambda amount: true + amount * (torch.arange(8) == 3),
        "scale": lambda amount: true * (1 + amount),
        "noise": lambda amount: true + amount * noise,
    }
    for damage, damaged in damages.items():
        none, little, much = (metric.measure(damaged(amount), true).mean().item() for amount in (0, 0.3, 1.5))
        assert none == pytest.approx(0, abs=1e-6) and none + 0.01 < little < 0.7 * much, damage
    # The longer a rollout slides, the farther it is.
    sliding = metric.measure(true + torch.linspace(0, 1, 6)[:, None, None, None], true)
    assert (sliding.diff(dim=1) > 0).all()


def test_freezing_is_counted_from_where_it_begins():
    true, metric = true_videos(episodes=1, frames=32), FrameFrozen()
    shares = []
    for stop in (31, 16, 4):
        stopped = true.clone()
        stopped[:, stop:] = true[:, stop : stop + 1]
        shares.append(metric.measure(stopped, true).mean().item())
    assert shares[0] == 0 < shares[1] < shares[2]


@pytest.mark.parametrize("kind", ["ids", "columns"])
def test_action_agreement_falls_with_every_wrong_action(kind):
    rng = np.random.default_rng(0)
    names, count = ("still", "left", "right"), 900
    if kind == "ids":
        metric, true, other = ActionAgreement(names), *rng.integers(0, 3, (2, count))
    else:
        metric = ActionAgreement(names, (True, False, False))
        true, other = (
            np.stack([rng.random(count) < 0.5, rng.normal(0, 10, count), rng.normal(0, 1, count)], 1) for _ in range(2)
        )
    scores: dict[tuple[str, str], list[float]] = {}
    for share in (0, 0.3, 1):  # of the frames whose action has nothing to do with what was given
        wrong = rng.random(count) < share
        predicted = np.where(wrong if kind == "ids" else wrong[:, None], other, true)
        metric.reset()
        metric.update(torch.from_numpy(predicted), torch.from_numpy(true))
        for score, value in metric.compute().items():
            scores.setdefault(score, []).append(value)
    assert {metric for metric, _ in scores} == (
        {"accuracy", "f1", "macro_f1"} if kind == "ids" else {"f1", "macro_f1", "mae", "correlation"}
    )
    for (score, _), (right, some, random) in scores.items():
        if score == "mae":
            assert right == 0 < some < 0.5 * random
        else:
            assert right == pytest.approx(1) and right - 0.1 > some > random + 0.2
    chance = {"accuracy": 1 / 3, "f1": 1 / 3 if kind == "ids" else 1 / 2, "macro_f1": None, "correlation": 0}
    for (score, _), (*_, random) in scores.items():
        if chance.get(score) is not None:
            assert random == pytest.approx(chance[score], abs=0.1)
