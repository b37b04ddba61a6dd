"""Arrays written row by row."""

from pathlib import Path

import numpy as np
import pytest

from mstv.data.npy_stream import NpyStream
from mstv.errors import UserError

ROWS = np.arange(60, dtype=np.float32).reshape(10, 2, 3)


def test_it_grows_and_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.npy"
    stream = NpyStream(path, (10, 2, 3), np.dtype("float32"))
    for start in range(0, 10, 4):
        stream.append(ROWS[start : start + 4])
        assert np.array_equal(stream.read(1, 99), ROWS[1 : start + 4])
        assert not path.exists()
    stream.finish()
    assert np.array_equal(np.load(path, allow_pickle=False), ROWS)
    assert list(path.parent.iterdir()) == [path]


def test_it_goes_on_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    killed = NpyStream(path, (10, 2, 3), np.dtype("float32"))
    killed.append(ROWS[:7])
    killed.flush()
    killed.close()
    resumed = NpyStream(path, (10, 2, 3), np.dtype("float32"), num_rows=4)
    assert np.array_equal(resumed.read(0, 4), ROWS[:4])
    resumed.append(ROWS[4:])
    resumed.finish()
    assert np.array_equal(np.load(path, allow_pickle=False), ROWS)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    stream = NpyStream(tmp_path / "x.npy", (10, 2, 3), np.dtype("float32"))
    with pytest.raises(ValueError, match="not float32"):
        stream.append(ROWS.astype(np.float64))
    with pytest.raises(ValueError, match="more than 10"):
        stream.append(np.concatenate([ROWS, ROWS]))
    stream.append(ROWS[:3])
    with pytest.raises(ValueError, match="3 of 10"):
        stream.finish()
    stream.close()
    with pytest.raises(UserError, match="fewer than the 4 rows"):
        NpyStream(tmp_path / "x.npy", (10, 2, 3), np.dtype("float32"), num_rows=4)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        NpyStream(tmp_path / "file" / "y.npy", (10, 2, 3), np.dtype("float32"))


@pytest.mark.parametrize("first_is_quicker", [True, False])
def test_two_writers_of_one_file_never_mix(tmp_path: Path, first_is_quicker: bool) -> None:
    path = tmp_path / "x.npy"
    first = NpyStream(path, (10, 2, 3), np.dtype("float32"))
    first.append(ROWS[:4] + 100)
    second = NpyStream(path, (10, 2, 3), np.dtype("float32"))
    second.append(ROWS[:6])
    first.append(ROWS[4:] + 100)
    if first_is_quicker:
        with pytest.raises(UserError, match="another process writes it"):
            first.finish()
    second.append(ROWS[6:])
    second.finish()
    if not first_is_quicker:
        with pytest.raises(UserError, match="another process writes it"):
            first.finish()
    assert np.array_equal(np.load(path, allow_pickle=False), ROWS)


def test_two_that_go_on_write_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    killed = NpyStream(path, (10, 2, 3), np.dtype("float32"))
    killed.append(ROWS[:8])
    killed.close()
    one, other = (NpyStream(path, (10, 2, 3), np.dtype("float32"), num_rows=4) for _ in range(2))
    one.append(ROWS[4:6])
    other.append(ROWS[4:9])
    one.append(ROWS[6:])
    one.finish()
    other.append(ROWS[9:])
    with pytest.raises(UserError, match="another process writes it"):
        other.finish()
    assert np.array_equal(np.load(path, allow_pickle=False), ROWS)
