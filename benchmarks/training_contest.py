"""Runs of `benchmarks.training` against each other: warm processes that train in turn, and what their rounds say."""

import contextlib
import itertools
import math
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.paired_rounds import paired_ratio
from benchmarks.rollout import tell
from benchmarks.training_setup import RECIPE, Run
from benchmarks.training_worker import Round, work
from mstv.device_peak import DevicePeak

CHECKPOINTS = 3


class Contestant:
    """A process that trains one run; see `benchmarks.training_worker.work`.

    Attributes:
        run: what it trains.
        rounds: that it has trained.
        saved: seconds of each checkpoint that it has written, and the recipe's seconds from one to the next.
    """

    def __init__(self, run: Run, folder: Path, out: Path, device: str) -> None:
        self.run = run
        self.rounds: list[Round] = []
        self.saved: list[tuple[float, float]] = []
        context = multiprocessing.get_context("spawn")
        self._connection, child = context.Pipe()
        # Not a daemon: it has loader processes of its own.
        self._process = context.Process(target=work, args=(run, folder, out, device, child))
        self._process.start()
        child.close()

    def warm_up(self, steps: int, deadline: float) -> float:
        """Train some steps, and compiled models until every shape of a step has been seen.

        Returns:
            seconds of a step.
        """
        done: Round = self._ask(steps)
        while self.run.compiled and done.shapes_left and time.monotonic() < deadline:
            done = self._ask(2)
        return self._ask(1).seconds

    def train(self, steps: int) -> None:
        """One round."""
        self.rounds.append(self._ask(steps))

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        self.saved.append(self._ask(path))

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._connection.send(None)
        self._process.join(60)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def each(self, value: str) -> list[float]:
        """A rate of every round, by the name that the results give it."""
        rates = {
            "tokens_per_second": lambda done: done.tokens / done.seconds,
            "tokens_per_cpu_second": lambda done: done.tokens / done.cpu_seconds,
            "samples_per_second": lambda done: done.samples / done.seconds,
            "step_seconds": lambda done: done.seconds / done.steps,
            "step_cpu_seconds": lambda done: done.cpu_seconds / done.steps,
            "flops_per_second": lambda done: done.flops / done.seconds,
            "data_wait_share": lambda done: done.wait_seconds / done.seconds,
        }
        return [rates[value](done) for done in self.rounds]

    def _ask(self, command: int | Path) -> Any:
        """Send a command and wait for the answer.

        Raises:
            RuntimeError: the process failed; with its traceback.
        """
        try:
            self._connection.send(command)
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"{self.run.name}: ended with exit code {self._process.exitcode}") from None
        if isinstance(answer, str):
            raise RuntimeError(f"{self.run.name}:\n{answer}")
        return answer


@dataclass
class Contest:
    """Runs of one model, size, precision and batch, trained in alternating rounds.

    Attributes:
        runs: at least one.
        rounds: how many.
        seconds: that a round of the slowest run takes about, where `steps` is not given.
        steps: of a round.
        unit: a round has a multiple of so many steps.
        warmup: steps before the first round.
        deadline: `time.monotonic()` after which no round begins.
        checkpoints: whether the time to save is measured too.
    """

    runs: Sequence[Run]
    rounds: int
    seconds: float
    steps: int | None
    unit: int
    warmup: int
    deadline: float
    checkpoints: bool

    def hold(self, folder: Path, device: str, peak: DevicePeak) -> dict[str, Any]:
        """Train on the sets in `folder`, and report."""
        contestants: list[Contestant] = []
        with tempfile.TemporaryDirectory() as out:
            try:
                slowest = 0.0
                for number, run in enumerate(self.runs):
                    tell(f"{run.model} {run.size} {run.precision}, {run.name}: warm-up")
                    contestants.append(Contestant(run, folder, Path(out) / f"run-{number}", device))
                    slowest = max(slowest, contestants[-1].warm_up(self.warmup, self.deadline))
                steps = self.steps or self.unit * max(1, math.ceil(self.seconds / slowest / self.unit))
                for number in range(self.rounds):
                    if number and time.monotonic() > self.deadline:
                        tell("the time is up")
                        break
                    for one in contestants if number % 2 == 0 else reversed(contestants):
                        one.train(steps)
                        rate = one.each("tokens_per_second")[-1]
                        tell(f"{one.run.name}: round {number + 1} of {self.rounds}, {rate:,.0f} tokens/s")
                for number, one in itertools.product(range(CHECKPOINTS if self.checkpoints else 0), contestants):
                    one.save(Path(out) / f"{number}.ckpt")
            finally:
                for one in contestants:
                    one.close()
        return report(contestants, steps, peak)


def report(contestants: list[Contestant], steps: int, peak: DevicePeak) -> dict[str, Any]:
    """Rates, utilisation, ratios and all rounds."""
    first = contestants[0].run
    results: dict[str, Any] = {
        "model": first.model,
        "size": first.size,
        "precision": first.precision,
        "batch": first.batch or RECIPE,
        "steps_a_round": steps,
        "peak": asdict(peak),
        "runs": {one.run.name: of_run(one, peak) for one in contestants},
        "ratios": [],
    }
    for one, other in itertools.combinations(contestants, 2):
        if len(settings := one.run.differs_in(other.run)) == 1:
            results["ratios"].append({"setting": settings[0], **ratio(other, one)})
    return results


def of_run(one: Contestant, peak: DevicePeak) -> dict[str, Any]:
    """Medians over its rounds, and the rounds."""
    names = ("tokens_per_second", "tokens_per_cpu_second", "samples_per_second", "step_seconds", "data_wait_share")
    flops = statistics.median(one.each("flops_per_second"))
    result: dict[str, Any] = {name: statistics.median(one.each(name)) for name in names}
    result |= {
        "flops_per_second": flops,
        "flops_utilisation": flops / peak.flops,
        "peak_mib": max(done.peak_mib for done in one.rounds),
        "settings": asdict(one.run),
        "rounds": [asdict(done) for done in one.rounds],
    }
    if one.saved:
        seconds = [took for took, _ in one.saved]
        interval = one.saved[0][1]
        result["checkpoint"] = {
            "seconds": seconds,
            "interval_seconds": interval,
            "share": statistics.median(seconds) / interval,
        }
    return result


def ratio(slow: Contestant, fast: Contestant) -> dict[str, Any]:
    """How many times as long a step of one takes as one of the other."""
    names = "step_seconds", "step_cpu_seconds"
    ratios = {name: paired_ratio(slow.each(name), fast.each(name))._asdict() for name in names}
    return {"of": slow.run.name, "over": fast.run.name, **ratios}
