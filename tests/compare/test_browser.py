"""The page in a browser: one clock for all videos, keys, sorting, choices; nothing from the network, no errors."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.compare_page import ARGUMENTS
from benchmarks.synthetic_run import make_run, read_number
from mstv.compare.comparison import Comparison
from mstv.compare.page import write_page
from mstv.data import results

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.alone, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]

CONTEXT, END = 24, 96
WATCH = """() => {
  // What is on the screen: the number of the frame that each video in view presented last, at each repaint.
  const videos = [...document.querySelectorAll("article:first-of-type video")];
  const fps = mstv.data.fps, shown = videos.map(() => -1);
  window.samples = [];
  videos.forEach((video, index) => {
    const note = (now, { mediaTime }) => {
      shown[index] = Math.round(mediaTime * fps);
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  });
  const sample = () => {
    if (shown.every((frame) => frame >= 0)) samples.push([...shown]);
    requestAnimationFrame(sample);
  };
  sample();
}"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    options: dict[str, Any] = {"size": 64, "context": CONTEXT, "end": END, "truths": ("raw", "decoded")}
    first = make_run(folder / "first", 0.0, revisits=True, coarse_levels=(1, 2), **options)
    second = make_run(folder / "second", 3.0, seed=1, attention="joint", **options)
    more = {"training_rows": 0, "token_evaluations_per_frame": 400.0, "coarse_levels": (1, 2, 3)}
    third = make_run(folder / "third", -2.0, **more, **options)
    (first / "config.yaml").write_text("seed_everything: 0\nmodel:\n  depth: 4\n")
    (second / "config.yaml").write_text("seed_everything: 1\nmodel:\n  depth: 4\n")
    damaged = results.evaluation_folder(third, "long") / results.VIDEOS / "walk-1.mp4"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    coarse = results.level_folder(damaged.parents[1], 2) / "walk-0.mp4"
    coarse.write_bytes(coarse.read_bytes()[:3000])
    (results.level_folder(damaged.parents[1], 3) / "walk-0.mp4").unlink()
    return [first, second, third]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Any, runs: list[Path], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page of the runs, 1280 pixels wide unless told otherwise, at the first episode; what went wrong fails."""
    settings = {"width": 1280, "embed": False, **getattr(request, "param", {})}
    path = tmp_path / "page.html"
    write_page(Comparison.read(runs), path, embed=settings["embed"])
    page = browser.new_page(viewport={"width": settings["width"], "height": 900}, color_scheme="dark")
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:", "blob:")) or problems.append(asked.url))
    page.goto(path.as_uri())
    page.evaluate("document.querySelector('article').scrollIntoView()")
    ready = (
        "[...document.querySelectorAll('article:first-of-type video')].every((v) => v.readyState >= 3 && !v.seeking)"
    )
    page.wait_for_function(ready)
    yield page
    page.close()
    assert problems == []


def told_frame(page: Any) -> int:
    return int(page.locator("#where").text_content().split()[1])


def wall(page: Any) -> Any:
    """The first episode's videos."""
    return page.locator("article").first.locator("video")


def shows(videos: Any, frame: int) -> bool:
    """Whether all these videos come to rest with this frame's number in their pictures."""
    found: list[int] = []
    for _ in range(20):  # a decoded frame still has to be painted, which takes its time on a busy machine
        videos.page.wait_for_timeout(250)
        pictures = [Image.open(io.BytesIO(videos.nth(number).screenshot())) for number in range(videos.count())]
        found = [read_number(np.asarray(picture.convert("RGB"))) for picture in pictures]
        if found == [frame] * 4:
            return True
    print(f"frame {frame} is wanted, the pictures show {found}")
    return False


PANEL = "article:first-of-type .levels"
PANEL_READY = f"[...document.querySelectorAll('{PANEL} video')].every((v) => v.readyState >= 3 && !v.seeking)"


@pytest.mark.parametrize(
    "opened", [{}, {"embed": True, "width": 390}], indirect=True, ids=["linked-1280", "embedded-390"]
)
def test_levels_follow_the_clock(opened: Any) -> None:
    first = opened.locator("article").first
    assert first.locator("[data-levels]:visible").count() == 2  # the second run has one level alone
    assert opened.locator("video[src*='levels']").count() == 0
    first.locator("button[data-levels='0']").click()
    assert first.locator("button[data-levels='0']").get_attribute("aria-expanded") == "true"
    panel = opened.locator(PANEL)
    names = panel.locator("figure .name").all_text_contents()
    assert names == ["level 2", "level 1", "level 0: the video", "truth"]
    opened.wait_for_function(PANEL_READY)
    sources = panel.locator("video").evaluate_all("videos => videos.map((video) => video.src)")
    beside = [first.locator(f".screens > figure{which} > video") for which in ("[data-run='0']", ":not([data-run])")]
    assert sources[2:] == [video.first.evaluate("video => video.src") for video in beside]
    assert len(set(sources)) == 4
    for frame in (CONTEXT - 1, 57, END - 1):
        opened.evaluate(f"mstv.player.pauseAt({frame})")
        panel.scroll_into_view_if_needed()
        opened.wait_for_function(PANEL_READY)
        assert shows(panel.locator("video"), frame)
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.locator("#legend button", has_text="first").click()
    assert panel.count() == 1 and not panel.is_visible()
    opened.locator("#legend button", has_text="all").click()
    panel.locator(".close").click()
    assert panel.count() == 0 and opened.evaluate("document.activeElement.dataset.levels") == "0"
    assert first.locator("button[data-levels='0']").get_attribute("aria-expanded") == "false"


def test_levels_play_within_one_frame_of_each_other(opened: Any) -> None:
    opened.locator("#scrub").fill("0")
    opened.keyboard.press("l")
    opened.wait_for_function(PANEL_READY)
    opened.evaluate(WATCH)
    opened.evaluate("mstv.player.toggle(true)")
    opened.wait_for_function(f"mstv.player.frame() >= {END // 2}")
    opened.evaluate("mstv.player.toggle(false)")
    samples = np.array(opened.evaluate("samples"))
    apart = np.ptp(samples, axis=1)
    print(f"{len(samples)} repaints; apart by 0, 1, 2, ... frames: {np.bincount(apart)}")
    assert samples.shape[1] == 8 and samples.max() > END // 2 - 10 and (apart <= 1).mean() > 0.95


def test_levels_by_key_and_what_is_missing_or_damaged(opened: Any) -> None:
    def runs_open() -> list[str]:
        panels = opened.locator("article").first.locator(".levels")
        return [panels.nth(number).get_attribute("data-run") for number in range(panels.count())]

    opened.keyboard.press("l")
    assert runs_open() == ["0"]
    opened.keyboard.press("l")
    assert runs_open() == ["2"]
    figures = opened.locator(f"{PANEL} figure")
    assert "levels/3/walk-0.mp4 does not exist" in figures.nth(0).text_content()
    opened.wait_for_function(f"document.querySelectorAll('{PANEL} .missing').length === 2")
    assert "cannot be played" in figures.nth(1).text_content()
    opened.wait_for_function(PANEL_READY)
    assert opened.locator(f"{PANEL} video").count() == 3
    opened.keyboard.press("End")
    assert told_frame(opened) == END - 1
    opened.keyboard.press("l")
    assert runs_open() == []
    # Two at once by their buttons, and each again after it was closed.
    for run in ("2", "0", "2", "2"):
        opened.locator(f"article:first-of-type button[data-levels='{run}']").click()
    assert runs_open() == ["0", "2"]
    opened.locator("article").nth(1).scroll_into_view_if_needed()
    opened.evaluate("document.querySelectorAll('article')[1].scrollIntoView()")
    opened.keyboard.press("l")
    assert runs_open() == ["0", "2"] and opened.locator("article").nth(1).locator(".levels").count() == 1


@pytest.mark.parametrize("opened", [{}, {"embed": True}], indirect=True, ids=["linked", "embedded"])
def test_scrubbing_shows_the_same_frame_everywhere(opened: Any) -> None:
    assert told_frame(opened) == CONTEXT - 1 and shows(wall(opened), CONTEXT - 1)
    for frame in (0, 57, END - 1):
        opened.locator("#scrub").fill(str(frame))
        assert told_frame(opened) == frame
        assert shows(wall(opened), frame)
    opened.locator("figure[data-run='1'] .strip").first.click(position={"x": 100, "y": 20})
    frame = told_frame(opened)
    assert frame not in (0, END - 1) and shows(wall(opened), frame)


def test_videos_play_within_one_frame_of_each_other(opened: Any) -> None:
    opened.locator("#scrub").fill("0")
    opened.evaluate(WATCH)
    opened.locator("#play").click()
    # Half way: the rest is time for this process to act in before the video ends, when keys mean something else.
    opened.wait_for_function(f"mstv.player.frame() >= {END // 2}")
    assert opened.locator("#play").get_attribute("aria-label") == "Pause"
    opened.keyboard.press("Space")  # the button has the focus: a click on it
    assert opened.locator("#play").get_attribute("aria-label") == "Play"
    samples = np.array(opened.evaluate("samples"))
    apart = np.ptp(samples, axis=1)
    print(f"{len(samples)} repaints; apart by 0, 1, 2, ... frames: {np.bincount(apart)}")
    assert samples.max() > END // 2 - 10 and len(np.unique(samples)) > 25  # they moved
    assert (apart <= 1).mean() > 0.95
    frame = told_frame(opened)
    assert shows(wall(opened), frame)
    opened.wait_for_timeout(300)
    assert told_frame(opened) == frame


def test_it_stops_at_the_end_and_begins_again(opened: Any) -> None:
    opened.locator("#scrub").fill(str(END - 4))
    opened.locator("#speed").select_option("4")
    opened.locator("h1").click()
    opened.keyboard.press("Space")
    opened.wait_for_function("document.getElementById('play').ariaLabel === 'Play'")
    assert told_frame(opened) == END - 1
    opened.keyboard.press("Space")
    opened.wait_for_function(f"mstv.player.frame() < {END // 2}")


def test_keys(opened: Any) -> None:
    def after(*keys: str) -> int:
        for key in keys:
            opened.keyboard.press(key)
        return told_frame(opened)

    assert after("Home") == 0 and after("c") == CONTEXT - 1 and after("End") == END - 1
    assert after("ArrowLeft", "ArrowLeft") == END - 3 and after("ArrowRight") == END - 2
    assert after("Shift+ArrowLeft") == END - 18 and after("Shift+ArrowRight") == END - 2
    assert after("Home", "ArrowLeft") == 0
    for key, speed in ((".", "2"), (",", "1"), (",", "0.5")):
        opened.keyboard.press(key)
        assert opened.locator("#speed").input_value() == speed
    # Revisits: the last eight frames show what the first eight did.
    assert after("r") == END - 8 and after("r") == END - 8
    assert "last seen at 0, 88 frames ago" in opened.locator(".seen").first.text_content()
    assert after("f") == 0 and after("f") == END - 8
    assert after("End", "R") == END - 8
    opened.locator(".revisit button").first.click()
    assert told_frame(opened) == 0 and shows(wall(opened), 0)


def test_tables_sort(opened: Any) -> None:
    table = opened.locator("table.sortable:visible").first

    def order(cells: str = "tbody th") -> list[str]:
        return [text.strip() for text in table.locator(cells).all_text_contents()]

    upper, lower = order()[0], order()[-1]
    assert order()[1:-1] == ["first", "second", "third"] and "upper" in upper and "lower" in lower
    last = table.locator("thead button").last
    last.click()
    assert order() == [upper, "second", "first", "third", lower]
    assert table.locator("thead th").last.get_attribute("aria-sort") == "descending"
    last.press("Enter")  # by keyboard, the other way round
    assert order() == [upper, "third", "first", "second", lower]
    table.locator("thead button").first.click()
    assert order() == [upper, "first", "second", "third", lower]
    costs = opened.locator("#cost table")
    costs.locator("thead button", has_text="evals/frame").click()
    assert costs.locator("tbody th").last.text_content() == "third"


def test_choices_reach_curves_tables_and_videos(opened: Any) -> None:
    def lines() -> int:
        return (
            opened.locator("#curve-charts .js-plotly-plot").first.locator(".scatterlayer .lines path.js-line").count()
        )

    opened.locator("#curves").scroll_into_view_if_needed()
    opened.wait_for_function("document.querySelectorAll('#curve-charts .js-plotly-plot').length === 2")
    before = lines()
    opened.locator("#legend button", has_text="second").click()
    opened.wait_for_timeout(100)
    assert lines() == before - 3  # the curve and the edges of its band
    assert opened.locator("figure[data-run='1']:visible").count() == 0
    assert opened.locator("figure[data-run='0']:visible").count() == 2
    opened.locator("#legend button", has_text="all").click()
    assert opened.locator("figure[data-run='1']:visible").count() == 2
    opened.locator("#numbers [data-truth='decoded']").click()
    assert opened.locator("#numbers h3:visible").first.text_content() == "PSNR (dB) against decoded frames"
    assert opened.locator("#curve-charts h3").first.text_content() == "PSNR (dB) against decoded frames"
    assert opened.locator("#curves [data-truth='decoded']").get_attribute("aria-pressed") == "true"


def test_differences_are_marked_and_damage_is_said(opened: Any) -> None:
    marked = opened.locator("tr.differs th").all_text_contents()
    assert {"seed", "attention", "seed_everything"} <= set(marked) and "model.depth" not in marked
    opened.locator("article").nth(1).scroll_into_view_if_needed()
    opened.wait_for_function("document.querySelectorAll('.missing').length === 1")
    assert "cannot be played" in opened.locator("figure[data-run='2'] .missing").text_content()
    opened.keyboard.press("End")
    assert told_frame(opened) == END - 1


@pytest.mark.parametrize("opened", [{"width": 390}, {"width": 1280}], indirect=True, ids=["390", "1280"])
def test_nothing_is_wider_than_the_window(opened: Any) -> None:
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"  # dark
    dock = opened.locator("#transport").bounding_box()
    assert dock["y"] + dock["height"] <= 900


def test_only_what_is_in_view_is_loaded(browser: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "many", num_episodes=12, size=64, end=16, coarse_levels=(1, 2))
    write_page(Comparison.read([run]), tmp_path / "page.html")
    page = browser.new_page(viewport={"width": 390, "height": 844})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_timeout(500)
    assert not [url for url in asked if url.endswith(".mp4")]
    page.locator("article").nth(6).scroll_into_view_if_needed()
    page.wait_for_function("document.querySelectorAll('article')[6].querySelector('video').readyState >= 2")
    assert 2 <= len({url for url in asked if url.endswith(".mp4")}) < 24
    assert not [url for url in asked if "/levels/" in url]
    page.locator("button[data-levels]").nth(6).click()
    page.wait_for_function("document.querySelectorAll('.levels video').length === 4")
    page.wait_for_function("[...document.querySelectorAll('.levels video')].some((v) => v.readyState >= 2)")
    assert {url.split("/levels/")[1] for url in asked if "/levels/" in url} <= {"1/walk-6.mp4", "2/walk-6.mp4"}
    page.close()


def test_forty_runs(browser: Any, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"run-{number}", float(number), num_episodes=1, end=16) for number in range(40)]
    write_page(Comparison.read(runs), tmp_path / "page.html")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems = SimpleNamespace(found=[])
    page.on("pageerror", lambda error: problems.found.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_function("document.querySelectorAll('#curve-charts .js-plotly-plot').length === 2")
    assert "40 runs: curves and videos begin with the first 8" in page.locator("#legend").text_content()
    assert page.locator("article").first.locator("figure:visible").count() == 9
    assert page.locator("table.sortable").first.locator("tbody tr").count() == 42
    page.locator("[data-choose='all']").click()
    assert page.locator("article").first.locator("figure:visible").count() == 41
    patterns = page.locator("#legend path").evaluate_all("lines => lines.map((l) => l.outerHTML)")
    assert len(set(patterns)) == 40  # no two runs look alike
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
    assert problems.found == []
