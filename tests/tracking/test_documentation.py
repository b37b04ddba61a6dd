"""docs/wandb.md names the options, and the names that things are logged under."""

import re
from pathlib import Path

from mstv.tracking import evaluation_log

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "wandb.md").read_text()


def test_every_option_is_told() -> None:
    for command in ("fit", "evaluate"):
        options = re.findall(r'"(--wandb\w*)"', (ROOT / f"mstv/cli/{command}.py").read_text())
        assert options
        for option in options:
            assert f"`{option}" in TEXT, option


def test_names_are_those_of_the_code() -> None:
    group = evaluation_log.group_of("PROTOCOL")
    for name in ("horizon", "METRIC/AGAINST/SERIES", "METRIC_h16", "revisit_METRIC_REFERENCE", "scores"):
        assert f"`{group}/{name}`" in TEXT, name
    assert "first three episodes" in TEXT and evaluation_log.NUM_VIDEOS == 3
