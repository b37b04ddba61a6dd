"""A turn ends as soon as it turns out too dear, and goes on where a part of it fails."""

import pytest

from mstv.callbacks import turn as module
from mstv.callbacks.turn import Problems, Stopped, TooDear, Turn


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_the_first_pieces_tell_how_long_the_rest_takes(clock: list[float]) -> None:
    turn = Turn(100.0)
    turn.stage(10, enough=3)
    clock[0] += 50  # the first is slow
    turn.advance()
    clock[0] += 6
    turn.advance()
    clock[0] += 6
    with pytest.raises(TooDear) as found:
        turn.advance()
    assert found.value.seconds == 50 + 9 * 6


def test_what_comes_afterwards_counts(clock: list[float]) -> None:
    for afterwards, fits in ((79.0, True), (81.0, False)):
        turn = Turn(100.0)
        turn.stage(2, afterwards=afterwards)
        for _ in range(2):
            clock[0] += 10
            if fits or not turn._done:
                turn.advance()
            else:
                with pytest.raises(TooDear):
                    turn.advance()
        assert turn.spent == 20 and turn.allows(80.0) and not turn.allows(81.0)


def test_it_ends_where_the_time_is_over_and_where_the_training_stops(clock: list[float]) -> None:
    turn = Turn(5.0)
    turn.stage(100, enough=50)
    clock[0] += 6
    with pytest.raises(TooDear):
        turn.advance()
    with pytest.raises(Stopped):
        Turn(5.0, lambda: True).advance()


def test_parts_that_fail_are_noted_once() -> None:
    problems = Problems()
    for _ in range(2):
        with problems.of("logging"):
            raise ConnectionError("no connection")
    with pytest.raises(TooDear), problems.of("videos"):
        raise TooDear(3.0)
    with problems.of("videos"):
        raise MemoryError
    assert problems.found == ["logging: no connection", "videos: MemoryError"]
