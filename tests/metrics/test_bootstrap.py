"""Intervals over episodes: coverage, pairing, gaps in the data."""

import numpy as np
import pytest

from mstv.data.results import bootstrap_interval
from mstv.metrics import bootstrap_mean, paired_difference


def test_is_seeded_and_that_of_the_result_files():
    values = np.random.default_rng(0).normal(size=(9, 4))
    interval = bootstrap_mean(values, seed=3)
    np.testing.assert_allclose(interval.mean, values.mean(0))
    low, high = bootstrap_interval(values, seed=3)
    np.testing.assert_allclose(interval.low, low)
    np.testing.assert_allclose(interval.high, high)
    assert not np.array_equal(interval.low, bootstrap_mean(values, seed=4).low)


def test_covers_the_true_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        _, low, high = bootstrap_mean(random.normal(size=40), seed=trial, resamples=400)
        covered += bool(low <= 0 <= high)
    assert 0.90 <= covered / 300 <= 0.98  # percentile intervals of 40 values are slightly narrow


def test_pairing_tells_close_runs_apart():
    random = np.random.default_rng(0)
    hardness = random.normal(20, 5, size=16)
    a, b = hardness + 0.5 + random.normal(0, 0.3, 16), hardness + random.normal(0, 0.3, 16)
    difference = paired_difference(a, b)
    assert difference.low > 0
    assert difference.mean == pytest.approx((a - b).mean())
    assert bootstrap_mean(a).low < bootstrap_mean(b).high  # side by side they overlap
    with pytest.raises(ValueError, match="pair the same episodes"):
        paired_difference(a, b[1:])


def test_episodes_without_a_value_are_left_out():
    values = np.array([[1.0, 1.0, np.nan], [3.0, np.nan, np.nan], [np.nan, np.nan, np.nan], [2.0, np.nan, np.nan]])
    interval = bootstrap_mean(values)
    np.testing.assert_array_equal(interval.mean, [2, 1, np.nan])
    assert 1 <= interval.low[0] < 2 < interval.high[0] <= 3
    assert np.isnan(interval.low[1:]).all() and np.isnan(interval.high[1:]).all()
    assert np.isnan(bootstrap_mean(np.empty((0, 2))).mean).all()
