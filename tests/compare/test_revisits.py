"""Where a walk comes back to."""

import numpy as np

from mstv.compare.revisits import MAX_SHOWN, Revisit, stretches


def test_a_stretch_begins_with_an_arrival() -> None:
    frame = np.array([150, 151, 152, 280, 282])
    last_seen = np.array([20, 21, 100, 3, 3])
    found = stretches(frame, last_seen)
    assert found.arrivals == (Revisit(150, 20), Revisit(280, 3), Revisit(282, 3))
    assert found.frames == tuple(frame.tolist()) and found.last_seen == tuple(last_seen.tolist())
    assert found.arrivals[0].gap == 130
    assert stretches(frame[:0], frame[:0]).arrivals == ()
    assert stretches(np.array([0, 1]), np.array([-40, -39])).arrivals == (Revisit(0, -40),)


def test_those_after_the_longest_gaps_are_shown() -> None:
    frame = np.arange(100, 300, 5)
    shown = stretches(frame, np.zeros_like(frame)).shown
    assert [revisit.frame for revisit in shown] == list(range(260, 300, 5)) and len(shown) == MAX_SHOWN
