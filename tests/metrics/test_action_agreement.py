"""Agreement of actions: against direct formulas, over processes, and on what cannot be scored."""

import numpy as np
import pytest
import torch

from mstv.metrics.action_agreement import ActionAgreement

NAMES = ("forward", "left", "right")


def ids(seed: int, count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    true = rng.integers(-1, 3, count)
    predicted = np.where(rng.random(count) < 0.7, np.maximum(true, 0), rng.integers(0, 3, count))
    return torch.from_numpy(predicted), torch.from_numpy(true)


def test_ids_agree_with_direct_formulas() -> None:
    metric = ActionAgreement(NAMES)
    parts = [ids(0), ids(1, 77)]
    for part in parts:
        metric.update(*part)
    predicted, true = (torch.cat(each).numpy() for each in zip(*parts, strict=True))
    predicted, true = predicted[true >= 0], true[true >= 0]
    scores = metric.compute()
    assert scores["accuracy", ""] == pytest.approx((predicted == true).mean())
    f1 = []
    for index, name in enumerate(NAMES):
        hits = ((predicted == index) & (true == index)).sum()
        precision, recall = hits / (predicted == index).sum(), hits / (true == index).sum()
        f1.append(2 * precision * recall / (precision + recall))
        assert scores["f1", name] == pytest.approx(f1[-1])
    assert scores["macro_f1", ""] == pytest.approx(np.mean(f1))


def test_actions_that_never_came_are_left_out_of_the_mean() -> None:
    metric = ActionAgreement(NAMES)
    metric.update(torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1]))
    scores = metric.compute()
    assert np.isnan(scores["f1", "right"])
    assert scores["macro_f1", ""] == pytest.approx((2 / 3 + 2 / 3) / 2)
    unknown = ActionAgreement(NAMES)
    unknown.update(torch.tensor([0]), torch.tensor([-1]))
    assert np.isnan(unknown.compute()["accuracy", ""])


def test_columns_agree_with_numpy() -> None:
    rng = np.random.default_rng(0)
    true = np.stack([rng.random(300) < 0.3, 10 * rng.normal(size=300), np.zeros(300)], 1).astype(np.float32)
    noisy = np.stack([np.abs(true[:, 0] - (rng.random(300) < 0.1)), true[:, 1] + rng.normal(size=300), true[:, 2]], 1)
    metric = ActionAgreement(("jump", "yaw", "still"), (True, False, False))
    metric.update(torch.from_numpy(noisy), torch.from_numpy(true))
    scores = metric.compute()
    hits = ((noisy[:, 0] > 0.5) & (true[:, 0] > 0.5)).sum()
    assert scores["f1", "jump"] == pytest.approx(2 * hits / ((noisy[:, 0] > 0.5).sum() + (true[:, 0] > 0.5).sum()))
    assert scores["mae", "yaw"] == pytest.approx(np.abs(noisy[:, 1] - true[:, 1]).mean(), rel=1e-5)
    assert scores["correlation", "yaw"] == pytest.approx(np.corrcoef(noisy[:, 1], true[:, 1])[0, 1], abs=1e-6)
    assert scores["mae", "still"] == 0 and np.isnan(scores["correlation", "still"])


def test_sums_of_parts_score_as_the_whole_and_many_at_once_as_each() -> None:
    metric = ActionAgreement(NAMES)
    sums = np.stack([metric.frame_sums(*(part.numpy() for part in ids(seed))).sum(0) for seed in range(3)])
    for part in map(ids, range(3)):
        metric.update(*part)
    assert metric.scores(sums.sum(0)) == pytest.approx(metric.compute())
    together = metric.scores(sums)
    for index in range(3):
        assert {score: values[index] for score, values in together.items()} == metric.scores(sums[index])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="must be"):
        ActionAgreement(NAMES).frame_sums(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(ValueError, match="must be"):
        ActionAgreement(NAMES, (True,) * 3).frame_sums(np.zeros((4, 2)), np.zeros((4, 2)))
