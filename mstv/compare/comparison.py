"""The runs that one page compares, on one protocol."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from mstv.compare.shown_metric import ShownMetric
from mstv.compare.training_log import TrainingLog, read_training_log
from mstv.data.results import Card, Evaluation, Incomplete, Run, read_run
from mstv.errors import UserError


@dataclass(frozen=True)
class Entry:
    """One run in a comparison; `label` tells it from the others."""

    label: str
    run: Run
    evaluation: Evaluation

    @property
    def card(self) -> Card:
        """Card of the run's evaluation."""
        return self.evaluation.card

    @cached_property
    def scores(self) -> pa.Table:
        """Per-frame scores, read once."""
        return self.evaluation.scores()

    @cached_property
    def training(self) -> TrainingLog:
        """Training log, read once."""
        return read_training_log(self.run.training_log)


@dataclass(frozen=True)
class BoundOwner:
    """Runs that share a tokenizer and therefore their bounds, which are read from the first of them."""

    runs: tuple[int, ...]
    entry: Entry
    label: str
    """Which runs these are; empty where they are all runs."""

    @property
    def run(self) -> int | None:
        """Index of the run whose colour the bounds take; None where all runs share them."""
        return self.runs[0] if self.label else None


@dataclass(frozen=True)
class Comparison:
    """Runs that were evaluated under the same protocol, so that their numbers may share a curve.

    Read it with `Comparison.read`.
    """

    protocol: str
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()
    """Why each of the other given runs is not compared."""

    @staticmethod
    def read(folders: Sequence[Path], protocol: str | None = None, skip_incomplete: bool = False) -> "Comparison":
        """Read runs from their folders.

        Args:
            folders: of the runs, at least one.
            protocol: name of the evaluation; None takes the only one that all runs have.
            skip_incomplete: leave runs out that have no evaluation of the protocol or a half-written one, as long as
                a finished one is left.

        Raises:
            UserError: not a run, a half-written evaluation, no common protocol or several, or evaluations that share
                a name but differ in what they ask for.
        """
        runs = [read_run(folder) for folder in folders]
        resolved = [run.folder.resolve() for run in runs]
        if repeated := [run.folder for run, path in zip(runs, resolved, strict=True) if resolved.count(path) > 1]:
            raise UserError(f"{repeated[0]}: is given more than once: give each run once")
        protocol = protocol or _only_protocol([run for run in runs if run.protocols or not skip_incomplete])
        entries, left_out = [], []
        for label, run in zip(_labels(resolved), runs, strict=True):
            try:
                entries.append(Entry(label, run, run.evaluation(protocol)))
            except Incomplete as error:
                left_out.append(str(error))
        if left_out and not (skip_incomplete and entries):
            more = f" ({len(left_out)} of {len(runs)} runs are incomplete)" if len(left_out) > 1 else ""
            hint = ", or leave it out with --skip-incomplete" if entries else ""
            raise UserError(f"{left_out[0]}{hint}{more}")
        for other in entries[1:]:
            if fields := entries[0].card.differences(other.card):
                raise UserError(
                    f"{other.evaluation.folder}: field {', '.join(fields)} differs from "
                    f"{entries[0].evaluation.folder}: these are different protocols, compare them on separate pages"
                )
        return Comparison(protocol, tuple(entries), tuple(left_out))

    @property
    def card(self) -> Card:
        """The first run's card; what makes the protocol is equal in all."""
        return self.entries[0].card

    @property
    def metrics(self) -> list[ShownMetric]:
        """All metrics that a run was scored with, in the order of the cards."""
        shown = [ShownMetric.of(note) for entry in self.entries for note in entry.card.metrics]
        return list({metric.name: metric for metric in shown}.values())

    @cached_property
    def bound_owners(self) -> tuple[BoundOwner, ...]:
        """Whose bounds to show: they come from the tokenizer alone, so runs that share it would repeat them."""
        groups: dict[str, list[int]] = {}
        for run, entry in enumerate(self.entries):
            groups.setdefault(entry.card.tokenizer_sha256, []).append(run)
        owners = []
        for runs in groups.values():
            label = self.entries[runs[0]].label + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")
            owners.append(BoundOwner(tuple(runs), self.entries[runs[0]], label if len(groups) > 1 else ""))
        return tuple(owners)


def _only_protocol(runs: list[Run]) -> str:
    for run in runs:
        if not run.protocols:
            raise UserError(f"{run.folder}: has no evaluation: run mstv evaluate on it first")
    if not runs:
        raise UserError("none of the runs has an evaluation: run mstv evaluate on them first")
    common = set.intersection(*(set(run.protocols) for run in runs))
    if len(common) == 1:
        return common.pop()
    have = "; ".join(f"{run.folder} has {', '.join(run.protocols)}" for run in runs)
    if not common:
        raise UserError(f"the runs share no protocol ({have}): evaluate them under the same one")
    raise UserError(f"the runs share several protocols ({', '.join(sorted(common))}): choose one with --protocol")


def _labels(folders: list[Path]) -> list[str]:
    """As much of the end of each path as tells the runs apart."""
    for depth in range(1, max(len(folder.parts) for folder in folders) + 1):
        labels = [os.path.join(*folder.parts[-depth:]) for folder in folders]
        if len(set(labels)) == len(labels):
            break
    return labels
