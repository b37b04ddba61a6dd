"""What alternating rounds say: the median of paired ratios, with an interval that assumes no distribution."""

import statistics
from collections.abc import Sequence
from math import comb
from typing import NamedTuple

COVERAGE = 0.95


class Ratio(NamedTuple):
    """Median of the ratios of paired rounds.

    Attributes:
        median: of all pairs.
        low: lower end of the interval.
        high: upper end.
        coverage: probability that the interval holds the true median; below 0.95 where there are too few rounds.
        all: ratio of each pair.
    """

    median: float
    low: float
    high: float
    coverage: float
    all: list[float]


def paired_ratio(ones: Sequence[float], others: Sequence[float]) -> Ratio:
    """Of each round's `one` over its `other`.

    The interval lies between two order statistics: of n values, the k-th smallest and the k-th largest hold the true
    median between them with probability 1 - 2 P(Binomial(n, 1/2) < k). k is the largest for which that is at least
    0.95: 2 of 9, which gives 0.961.
    """
    ratios = [one / other for one, other in zip(ones, others, strict=True)]
    ordered, rank = sorted(ratios), 1
    while 2 * (rank + 1) <= len(ordered) and _coverage(len(ordered), rank + 1) >= COVERAGE:
        rank += 1
    return Ratio(statistics.median(ratios), ordered[rank - 1], ordered[-rank], _coverage(len(ordered), rank), ratios)


def _coverage(count: int, rank: int) -> float:
    return 1 - 2 * sum(comb(count, below) for below in range(rank)) / 2**count
