"""The runs that one page compares, on one protocol."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from mstv.data.results import Card, Evaluation, Run, read_run
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


@dataclass(frozen=True)
class Comparison:
    """Runs that were evaluated under the same protocol, so that their numbers may share a curve.

    Read it with `Comparison.read`.
    """

    protocol: str
    entries: tuple[Entry, ...]

    @staticmethod
    def read(folders: Sequence[Path], protocol: str | None = None) -> "Comparison":
        """Read runs from their folders.

        Args:
            folders: of the runs, at least one.
            protocol: name of the evaluation; None takes the only one that all runs have.

        Raises:
            UserError: not a run, a half-written evaluation, no common protocol or several, or evaluations that share
                a name but differ in what they ask for.
        """
        runs = [read_run(folder) for folder in folders]
        resolved = [run.folder.resolve() for run in runs]
        if repeated := [run.folder for run, path in zip(runs, resolved, strict=True) if resolved.count(path) > 1]:
            raise UserError(f"{repeated[0]}: is given more than once: give each run once")
        protocol = protocol or _only_protocol(runs)
        evaluations = [run.evaluation(protocol) for run in runs]
        for other in evaluations[1:]:
            if fields := evaluations[0].card.differences(other.card):
                raise UserError(
                    f"{other.folder}: field {', '.join(fields)} differs from {evaluations[0].folder}: "
                    "these are different protocols, compare them on separate pages"
                )
        parts = zip(_labels(resolved), runs, evaluations, strict=True)
        return Comparison(protocol, tuple(Entry(*part) for part in parts))

    @property
    def card(self) -> Card:
        """The first run's card; what makes the protocol is equal in all."""
        return self.entries[0].card

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics that a run was scored with, in the order of the cards."""
        return list(dict.fromkeys(note.name for entry in self.entries for note in entry.card.metrics))

    @cached_property
    def bound_owners(self) -> tuple[tuple[int | None, Entry], ...]:
        """Whose bounds to show: (index of the run, run), or (None, run) alone where one tokenizer serves all.

        Bounds come from the tokenizer alone, so runs that share it would repeat the same line.
        """
        if len({entry.card.tokenizer_sha256 for entry in self.entries}) == 1:
            return ((None, self.entries[0]),)
        return tuple(enumerate(self.entries))


def _only_protocol(runs: list[Run]) -> str:
    for run in runs:
        if not run.protocols:
            raise UserError(f"{run.folder}: has no evaluation: run mstv evaluate on it first")
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
