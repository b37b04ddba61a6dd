"""Where a walk comes back to."""

import numpy as np

from mstv.compare.revisits import MAX_SHOWN, MIN_GAP, Revisit, find_revisits


def test_revisits_are_arrivals_after_a_while():
    frame = np.arange(100, 300)
    first_seen = frame.copy()
    first_seen[50:60] = np.arange(20, 30)  # frames 150 to 159 show what 20 to 29 did
    first_seen[100:160] = 200  # stands still at frame 200
    first_seen[170:172] = [260, 261]  # too soon
    first_seen[180:183] = [3, 3, 3]
    found = find_revisits(frame, first_seen)
    assert found.arrivals == (Revisit(150, 20), Revisit(280, 3))
    assert found.frames == (*range(150, 160), *range(200 + MIN_GAP, 260), 280, 281, 282)
    assert found.first_seen[:10] == tuple(range(20, 30)) and len(found.first_seen) == len(found.frames)
    assert find_revisits(frame, frame).arrivals == ()
    many = frame.copy()
    many[::5] = 0
    shown = find_revisits(frame, many).shown
    assert [revisit.frame for revisit in shown] == list(range(260, 300, 5)) and len(shown) == MAX_SHOWN  # longest ago
