"""docs/evaluation.md tells the protocols, the revisits and the files as they are."""

import re
from pathlib import Path

from data_tools.policies import LOOK_BACK_GAPS
from mstv.data.results import REVISIT_SCORES, layout
from mstv.data.results.actions import ACTION_SCORES
from mstv.data.results.revisit_scores import GapMean, RevisitMeans
from mstv.data.revisits import Tolerance
from mstv.evaluation.protocols import PROTOCOLS
from mstv.evaluation.revisit_scoring import AWAY, GAPS
from mstv.metrics.revisits import ANGLE_TOLERANCE, POSITION_TOLERANCE

TEXT = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
WORDS = " ".join(TEXT.split())


def test_protocols_are_those_of_the_code() -> None:
    told = {name: rest for name, rest in re.findall(r"^\| `([\w-]+)` \| (\d+ \| .*) \|$", TEXT, re.MULTILINE)}
    assert set(told) == set(PROTOCOLS)
    for protocol in PROTOCOLS.values():
        walk = f", policy `{protocol.policy}`" if protocol.policy else ""
        span = f"{protocol.context_frames}, {protocol.end_frame} | {protocol.end_frame} frames{walk} | "
        assert told[protocol.name].startswith(f"{protocol.version} | {span}"), protocol.name


def test_numbers_of_revisits_are_those_of_the_code() -> None:
    assert f"within {POSITION_TOLERANCE:g} blocks and {ANGLE_TOLERANCE:g} degrees" in WORDS
    assert f"for at least {AWAY} frames" in WORDS
    pages = Tolerance()
    assert f"take {pages.position:g} blocks and {pages.angle:g} degrees" in WORDS
    *most, last = map(str, GAPS)
    assert f"bins of {', '.join(most)} and {last} frames" in WORDS
    *most, last = map(str, LOOK_BACK_GAPS)
    assert f"again: {', '.join(most)} or {last}, by the episode's number" in WORDS


def test_files_and_columns_are_those_of_the_code() -> None:
    elsewhere = {"CONFIG", "CHECKPOINTS", "TRAINING", "EVALUATION", "RECORD"}
    for name, value in vars(layout).items():
        assert not name.isupper() or name in elsewhere or f"`{value}" in TEXT, name
    for name in (*REVISIT_SCORES.names, *ACTION_SCORES.names, *RevisitMeans.model_fields, *GapMean.model_fields):
        assert f"`{name}`" in TEXT, name
