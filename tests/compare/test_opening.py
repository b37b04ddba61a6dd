"""The benchmark of the page's opening measures what it says."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import compare_page

pytest.importorskip("playwright", reason="playwright is not installed")


@pytest.mark.skipif(
    not (shutil.which("chromium") or shutil.which("chromium-browser")), reason="no chromium on this machine"
)
@pytest.mark.parametrize("embed", [[], ["--embed"]], ids=["linked", "embedded"])
@pytest.mark.slow
def test_opening_is_measured(embed: list[str], tmp_path: Path) -> None:
    shape = ["--runs", "2", "--episodes", "1", "--frames", "48", "--size", "32", "--openings", "2"]
    compare_page.main([*shape, *embed, "--json", str(tmp_path / "opening.json")])
    result = json.loads((tmp_path / "opening.json").read_text())
    assert len(result["openings"]) == 2 and result["embedded"] is bool(embed)
    opening = result["openings"][0]
    assert 0 < opening["first_paint_ms"] <= opening["curves_drawn_ms"]
    assert opening["player_ms"] <= opening["curves_drawn_ms"]
    assert opening["videos_in_view"] == 3 and opening["videos_shown_after_scrolling_ms"] > 0
    assert result["page_megabytes"] > 4 + bool(embed) * result["video_megabytes"]
