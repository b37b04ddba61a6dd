"""Staying within a share of the training's time."""

import time
from typing import Any


class TimeShare:
    """Says how many episodes may be done now, so that all turns together take at most a share of the training's time.

    What a turn costs is measured; what it may cost is the share of the time that was trained since the beginning,
    less what earlier turns took. So a turn that was too dear is made up for by the turns after it.

    Args:
        max_share: of the time of training, which is the time of turns, of validation and of loading not counted.

    Attributes:
        training_seconds: trained so far, also before a resume.
        spent_seconds: that all turns took.
        finishing_seconds: that the latest turn took for an episode after it was generated: decoding, scores, videos.
        closing_seconds: that it took after the last episode: curves, tables, loggers.
    """

    def __init__(self, max_share: float) -> None:
        self.max_share = max_share
        self.training_seconds = 0.0
        self.spent_seconds = 0.0
        self.finishing_seconds = 0.0
        self.closing_seconds = 0.0
        self._costs: dict[int, float] = {}
        self._since: float | None = None

    def go_on(self) -> None:
        """Training begins, or goes on."""
        if self._since is None:
            self._since = time.perf_counter()

    def pause(self) -> None:
        """Something else than training begins."""
        if self._since is not None:
            self.training_seconds += time.perf_counter() - self._since
            self._since = None

    @property
    def budget(self) -> float:
        """Seconds that may be spent now; negative if too much was."""
        return self.max_share * self.training_seconds - self.spent_seconds

    @property
    def share(self) -> float:
        """Spent so far, of the time of training."""
        return self.spent_seconds / max(self.training_seconds, 1e-9)

    def affordable(self, wanted: int) -> int:
        """The most episodes, up to `wanted`, that the budget suffices for; as many as wanted if none was done yet."""
        if self.budget <= 0:
            return 0
        return next((count for count in range(wanted, 0, -1) if self.cost(count) <= self.budget), 0)

    def cost(self, count: int) -> float:
        """Seconds that so many episodes are expected to take, from the nearest number that was measured."""
        if not self._costs:
            return 0.0
        nearest = min(self._costs, key=lambda known: (abs(known - count), known))
        return self._costs[nearest] * count / nearest

    def measured(self, count: int, seconds: float) -> None:
        """Note what a turn of so many episodes cost, or would have cost, from its beginning to its end."""
        self._costs[count] = seconds

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training goes on with; plain values."""
        since = 0.0 if self._since is None else time.perf_counter() - self._since
        return {
            "training_seconds": self.training_seconds + since,
            "spent_seconds": self.spent_seconds,
            "finishing_seconds": self.finishing_seconds,
            "closing_seconds": self.closing_seconds,
            "costs": dict(self._costs),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`; a checkpoint of an earlier version does not tell what turns are made of."""
        self.training_seconds, self.spent_seconds = state["training_seconds"], state["spent_seconds"]
        self.finishing_seconds = state.get("finishing_seconds", 0.0)
        self.closing_seconds = state.get("closing_seconds", 0.0)
        self._costs = dict(state["costs"])
