"""The page stands alone: nothing from the network, links that exist, data that parses."""

import base64
import json
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from mstv.compare.comparison import Comparison
from mstv.compare.page import write_page
from mstv.data import results


class Page(HTMLParser):
    """What a page loads, says and carries."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.resources: list[str] = []
        self.videos: list[str] = []
        self.ids: list[str] = []
        self.data = ""
        self.text = ""
        self.styles = ""
        self.missing = 0
        self._inside: dict[str, str | None] = {}
        self._tag = ""
        self._open: list[str] = []
        self.feed(path.read_text())
        self.close()
        assert self._open == [], f"unclosed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._tag, self._inside = tag, attributes
        if tag not in ("meta", "link", "input", "br"):
            self._open.append(tag)
        self.ids += [attributes["id"] or ""] if "id" in attributes else []
        self.missing += attributes.get("class") == "missing"
        if tag == "video":
            self.videos.append(attributes["src"] or "")
        for name in ("src", "href", "poster", "srcset", "data"):
            if name in attributes:
                self.resources.append(attributes[name] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag == "script":
            if self._inside.get("type") == "application/json":
                self.data += data
        elif self._tag == "style":
            self.styles += data
        else:
            self.text += data


def write(runs: list[Path], path: Path, **options: object) -> Page:
    path.parent.mkdir(exist_ok=True)
    write_page(Comparison.read(runs), path, **options)
    return Page(path)


@pytest.fixture
def page_path(tmp_path: Path) -> Path:
    return tmp_path / "pages" / "compare.html"


def test_page_loads_nothing_from_the_network(new_run, page_path):
    page = write([new_run("first"), new_run("second", 2.0)], page_path)
    assert page.resources
    for resource in page.resources:
        assert resource.startswith(("#", "data:", "../")), resource
    assert "url(" not in page.styles and "@import" not in page.styles


def test_every_linked_video_exists_beside_the_page(new_run, page_path):
    # A link must survive a space and a hash.
    runs = [new_run("fir st#1", coarse_levels=(1, 2)), new_run("second", 2.0)]
    page = write(runs, page_path)
    assert len(page.videos) == 2 * 5  # episodes x (truth, two runs, two levels of one of them)
    for video in page.videos:
        assert (page_path.parent / unquote(urlsplit(video).path)).is_file(), video
    assert page.missing == 0 and len(set(page.videos)) == len(page.videos)


def test_missing_videos_are_said(new_run, page_path):
    first, second = new_run("first"), new_run("second")
    (results.evaluation_folder(second, "long") / results.VIDEOS / "walk-1.mp4").unlink()
    page = write([first, second], page_path)
    assert len(page.videos) == 5 and page.missing == 1
    assert "walk-1.mp4 does not exist" in page.text


def test_runs_of_one_level_have_no_level_view(new_run, page_path):
    page = write([new_run("first")], page_path)
    assert "levels" not in page.text and all("levels" not in video for video in page.videos)
    page = write([new_run("second", coarse_levels=(1,)), new_run("third")], page_path)
    assert "level 1" in page.text and "1/4 of tokens" in page.text and "levels of the episode in view" in page.text


def test_page_without_any_video_says_so(new_run, page_path):
    page = write([new_run("first", videos=False)], page_path)
    assert page.videos == [] and "No run has videos" in page.text and "scrub" not in page.ids


def test_embedded_videos_are_the_files(new_run, page_path):
    run = new_run("first", num_episodes=1, coarse_levels=(1,))
    page = write([run], page_path, embed=True)
    truth, generated, coarse = (base64.b64decode(video.removeprefix("data:video/mp4;base64,")) for video in page.videos)
    folder = results.evaluation_folder(run, "long")
    assert truth == (folder / results.TRUTH / "walk-0.mp4").read_bytes()
    assert generated == (folder / results.VIDEOS / "walk-0.mp4").read_bytes()
    assert coarse == (folder / results.LEVELS / "1" / "walk-0.mp4").read_bytes()


def test_data_block_holds_what_is_drawn(new_run, page_path):
    runs = [new_run("first", truths=("raw", "decoded")), new_run("second", 2.0, training_rows=0)]
    data = json.loads(write(runs, page_path).data)
    assert data["runs"] == ["first", "second"]
    assert (data["context"], data["first"], data["end"], data["fps"]) == (8, 0, 32, 20.0)
    assert {(panel["metric"], panel["truth"]) for panel in data["panels"]} == {
        (metric, truth) for metric in ("psnr", "ssim") for truth in ("raw", "decoded")
    }
    assert {panel["detail"] for panel in data["panels"]} == {"averaged", "frames"}
    curve = next(panel for panel in data["panels"] if panel["detail"] == "frames")["curves"][0]
    assert curve["x"] == list(range(1, 25)) and len(curve["y"]) == len(curve["low"]) == len(curve["high"]) == 24
    assert [[len(strip) for strip in row] for row in data["strips"]] == [[0, 24, 24]] * 2
    assert [quantity["name"] for quantity in data["training"]] == ["train/loss", "val/loss", "lr-AdamW"]
    assert [curve["run"] for curve in data["training"][0]["curves"]] == [0]


def test_ids_that_scripts_look_up_exist_once(new_run, page_path):
    page = write([new_run("first")], page_path)
    assert len(set(page.ids)) == len(page.ids)
    wanted = {"data", "legend", "curve-charts", "training-charts", "wall", "play", "back", "forward", "speed", "scrub"}
    assert wanted | {"where", "context-mark"} <= set(page.ids)


def test_header_is_honest_and_cards_show_what_differs(new_run, page_path):
    second = new_run("second", seed=5, nfe=(50, 12), attention="joint", context_refresh=5, context_noise=0.1)
    page = write([new_run("first", seed=3), second], page_path)
    assert "first episodes of the split, not selected" in page.text
    assert "seeds\n3, 5" in page.text and "read small differences as noise" in page.text
    assert "NFE 10, guidance" in page.text and "NFE 50 / 12 by level, guidance" in page.text
    assert "context refreshed every 5 evaluations, context noise 0.1" in page.text
    assert "isolated" in page.text and "joint" in page.text
    assert page.text.count("a synthetic run") == 1  # equal in both: told once


def test_text_from_files_cannot_become_markup(new_run, page_path):
    evil = "</script><img src=http://evil>"
    page = write([new_run("first", videos=False, sampler=evil, plan={"family": evil})], page_path, title=evil)
    assert all("evil" not in resource for resource in page.resources)
    assert page.text.count(evil) >= 3
    json.loads(page.data)


def test_training_name_cannot_close_the_data_block(new_run, page_path):
    run = new_run("first", videos=False, training_rows=0)
    (run / results.TRAINING).write_text("step,</script><b>loss\n1,2\n2,nan\n")
    data = json.loads(write([run], page_path).data)
    assert data["training"] == [
        {"name": "</script><b>loss", "curves": [{"group": 1, "run": 0, "x": [1.0, 2.0], "y": [2.0, None]}]}
    ]
