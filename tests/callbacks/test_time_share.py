"""What a share of the training's time allows."""

import pytest

from mstv.callbacks import time_share
from mstv.callbacks.time_share import TimeShare


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time_share.time, "perf_counter", lambda: now[0])
    return now


def trained(share: TimeShare, clock: list[float], seconds: float) -> None:
    share.go_on()
    clock[0] += seconds
    share.pause()


def test_only_training_counts(clock: list[float]) -> None:
    share = TimeShare(0.05)
    assert share.affordable(4) == 0
    trained(share, clock, 100)
    clock[0] += 1000  # a validation
    trained(share, clock, 20)
    assert share.training_seconds == 120 and share.budget == pytest.approx(6)


def test_as_many_episodes_as_the_budget_allows(clock: list[float]) -> None:
    share = TimeShare(0.05)
    trained(share, clock, 100)
    assert share.affordable(4) == 4, "nothing is known yet"
    share.measured(4, 8.0)
    assert [share.affordable(wanted) for wanted in (4, 2, 1)] == [2, 2, 1]
    share.measured(2, 5.5)  # a batch of two is not half as dear
    assert share.affordable(4) == 1
    share.spent_seconds = 4.5
    assert share.affordable(4) == 0


def test_what_was_too_dear_is_made_up_for(clock: list[float]) -> None:
    share = TimeShare(0.1)
    trained(share, clock, 10)
    share.spent_seconds = 3.0
    share.measured(1, 3.0)
    turns = 0
    for _ in range(100):
        trained(share, clock, 10)
        if share.affordable(1):
            share.spent_seconds += 3.0
            turns += 1
    assert turns == pytest.approx(1010 * 0.1 / 3 - 1, abs=1) and share.share <= 0.1


def test_a_resumed_training_goes_on_with_its_times(clock: list[float]) -> None:
    share = TimeShare(0.05)
    share.go_on()
    clock[0] += 60
    share.measured(3, 2.0)
    share.spent_seconds, share.finishing_seconds, share.closing_seconds = 1.0, 0.5, 0.25
    resumed = TimeShare(0.05)
    resumed.load_state_dict(share.state_dict())
    assert resumed.training_seconds == 60 and resumed.budget == pytest.approx(2.0)
    assert resumed.affordable(3) == 3 and resumed.affordable(4) == 3
    assert (resumed.finishing_seconds, resumed.closing_seconds) == (0.5, 0.25)
