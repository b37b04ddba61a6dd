"""A rollout that follows its actions scores as the recording does, one that does not scores as chance."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mstv.data.results.actions import ActionSummary
from mstv.evaluation.action_following import action_summary, episode_rows, score_actions
from mstv.evaluation.episode import Episode
from mstv.inverse_dynamics.inverse_dynamics import ActionLayout, InverseDynamics

CONTEXT, END = 6, 46
NAMES = ("still", "left", "right")


class Reader(InverseDynamics):
    """Reads the action off the red value of the frame less that of the frame before, for a perfect instrument."""

    def __init__(self, layout: ActionLayout) -> None:
        nn.Module.__init__(self)
        self.clip_frames, self.actions = 2, layout
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, clips: Tensor) -> Tensor:
        step = ((clips[:, 1, 0, 0, 0] - clips[:, 0, 0, 0, 0]) * 255).round() % 3
        if self.actions.kind == "discrete":
            return nn.functional.one_hot(step.long(), 3).float()
        return torch.stack([step - 0.5, step], 1)


DISCRETE = Reader(ActionLayout("discrete", NAMES))
VECTOR = Reader(ActionLayout("vector", ("go", "turn"), ("0/1", "degrees"), (1.0, 10.0)))


def video(steps: np.ndarray) -> Tensor:
    red = np.cumsum(steps) % 255
    return torch.from_numpy(np.broadcast_to(red[:, None, None, None], (len(steps), 3, 4, 4)) / 255).float()


def episode(seed: int, followed: float) -> tuple[Episode, np.ndarray]:
    """One whose generated frames do what the actions say with probability `followed`, else nothing."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, 3, END)
    done = np.where((rng.random(END) < followed) | (np.arange(END) < CONTEXT), actions, 0)
    true, made = video(actions), video(done)
    latents = torch.zeros(END, 1, 1, 1)
    return Episode(f"e{seed}", CONTEXT, made, true, true, latents, latents), actions.astype(np.int16)


def summary(followed: float, model: Reader = DISCRETE) -> ActionSummary:
    sums = []
    for seed in range(4):
        made, actions = episode(seed, followed)
        if model is VECTOR:
            columns = np.stack([actions > 0, 10.0 * actions], 1).astype(np.float32)
            sums.append(score_actions(model, made, columns, seed=0))
        else:
            sums.append(score_actions(model, made, actions, seed=0))
    return action_summary(model, "0" * 64, sums)


def value(found: ActionSummary, series: str, metric: str, name: str = "") -> float:
    score = found.score(series, metric, name)  # type: ignore[arg-type]
    assert score is not None
    return score.overall.value


def test_following_lies_between_the_bounds() -> None:
    half = summary(0.5)
    assert value(half, "recorded", "accuracy") == value(half, "upper_bound", "accuracy") == 1.0
    assert value(half, "generated", "accuracy") == pytest.approx(0.5 + 0.5 / 3, abs=0.1)
    assert value(half, "lower_bound", "accuracy") == pytest.approx(1 / 3, abs=0.12)
    assert value(summary(1.0), "generated", "macro_f1") == 1.0
    none = summary(0.0)
    assert value(none, "generated", "accuracy") < 0.45 and value(none, "generated", "f1", "left") == 0.0


def test_windows_and_intervals_are_those_of_all_metrics() -> None:
    score = summary(0.5).score("generated", "accuracy")
    assert score is not None
    assert [(w.first, w.horizon) for w in score.horizons] == [(1, 1), (9, 16), (21, 40)]
    assert score.overall.interval is not None
    low, high = score.overall.interval
    assert low < score.overall.value < high
    alone, actions = episode(0, 0.5)
    single = action_summary(DISCRETE, "0" * 64, [score_actions(DISCRETE, alone, actions, 0)]).score(
        "generated", "accuracy"
    )
    assert single is not None and single.overall.interval is None


def test_columns_have_errors_in_their_units() -> None:
    perfect, lost = summary(1.0, VECTOR), summary(0.0, VECTOR)
    assert value(perfect, "generated", "mae", "turn") == 0 and value(perfect, "generated", "f1", "go") == 1
    assert value(perfect, "generated", "correlation", "turn") == pytest.approx(1)
    assert value(lost, "generated", "mae", "turn") == pytest.approx(10, abs=2)
    assert lost.score("generated", "correlation", "turn") is None, "what stands still correlates with nothing"
    assert perfect.units == {"go": "0/1", "turn": "degrees"}


def test_every_episode_has_its_rows() -> None:
    found = {}
    for seed in range(2):
        made, actions = episode(seed, 1.0)
        found[made.key] = score_actions(DISCRETE, made, actions, 0)
    rows = episode_rows(DISCRETE, found).to_pylist()
    generated = [row for row in rows if row["series"] == "generated" and row["metric"] == "accuracy"]
    assert [(row["episode"], row["value"], row["num_frames"]) for row in generated] == [
        ("e0", 1.0, END - CONTEXT),
        ("e1", 1.0, END - CONTEXT),
    ]
    assert {row["series"] for row in rows} == {"generated", "upper_bound", "recorded", "lower_bound"}
