"""The revisits of an evaluation, or of the rollouts of a training, as a table and as numbers for loggers."""

from collections.abc import Sequence

from mstv.data.results import RevisitMeans

REVISIT_COLUMNS = (
    *("metric", "against", "series", "seen in", "frames ago", "value", "low", "high", "episodes", "frames"),
)


def revisit_table(revisits: Sequence[RevisitMeans]) -> list[list[str | int | float | None]]:
    """Rows of `REVISIT_COLUMNS`: each bin by its first gap, then all together."""
    rows: list[list[str | int | float | None]] = []
    for means in revisits:
        kind = [means.metric, means.reference, means.series, means.seen_in]
        bins = [*((str(gap.first_gap), gap) for gap in means.gaps), ("all", means.overall)]
        for name, gap in bins:
            rows.append([*kind, name, gap.value, *(gap.interval or (None, None)), gap.num_episodes, gap.num_frames])
    return rows


def revisit_numbers(group: str, revisits: Sequence[RevisitMeans]) -> dict[str, float]:
    """What the rollout scores where any place comes back: `GROUP/revisit_METRIC_REFERENCE`."""
    return {
        f"{group}/revisit_{means.metric}_{means.reference}": means.overall.value
        for means in revisits
        if (means.series, means.seen_in) == ("generated", "anywhere")
    }
