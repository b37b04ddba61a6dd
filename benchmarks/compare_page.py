"""How long the page of `mstv compare` takes to open in a headless Chromium.

python -m benchmarks.compare_page --json benchmarks/results/compare_page.json

Makes synthetic runs (6 runs, 8 episodes of 1024 frames at 128x128, with three coarse levels, unless told otherwise),
writes their page, and opens it several times in a fresh browser. Milliseconds since the navigation began, then since
the page was scrolled to the wall of videos. Needs the playwright package and chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.blockworld import machine
from benchmarks.synthetic_run import make_run
from mstv.compare.comparison import Comparison
from mstv.compare.page import write_page

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]
WATCH = """
window.firstSeen = {};
const see = () => {
  if (document.getElementById("transport")) firstSeen.player ??= performance.now();
  if (document.querySelectorAll("#curve-charts .main-svg").length >= 2) firstSeen.curves ??= performance.now();
  requestAnimationFrame(see);
};
requestAnimationFrame(see);
"""
VIDEOS = """async () => {
  const began = performance.now();
  document.querySelector("article").scrollIntoView();
  const inView = (video) => video.getBoundingClientRect().top < innerHeight;
  for (;;) {
    const videos = [...document.querySelectorAll("video")].filter(inView);
    const shown = videos.every((video) => video.readyState >= 2 && !video.seeking);
    if (shown) return [videos.length, performance.now() - began];
    await new Promise(requestAnimationFrame);
  }
}"""


def open_page(path: Path) -> dict[str, float]:
    """Milliseconds of one opening in a fresh browser."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(WATCH)
        page.goto(path.as_uri())
        page.wait_for_function("firstSeen.curves")
        navigation = page.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        seen = page.evaluate("firstSeen")
        count, videos = page.evaluate(VIDEOS)
        browser.close()
    return {
        "first_paint_ms": paint,
        "player_ms": seen["player"],
        "load_event_ms": navigation["loadEventEnd"],
        "curves_drawn_ms": seen["curves"],
        "videos_in_view": count,
        "videos_shown_after_scrolling_ms": videos,
    }


def main(argv: list[str] | None = None) -> None:
    """Make the runs, write the page, open it, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--frames", type=int, default=1024)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--coarse-levels", type=int, default=3, help="levels with videos of their own")
    parser.add_argument("--openings", type=int, default=5)
    parser.add_argument("--embed", action="store_true", help="videos in the page")
    parser.add_argument("--folder", type=Path, help="of the runs; found there, they are used again")
    parser.add_argument("--json", type=Path, help="file to write the result into")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        runs = [folder / f"run-{number}" for number in range(arguments.runs)]
        shape = {"num_episodes": arguments.episodes, "end": arguments.frames, "size": arguments.size}
        for number, run in enumerate(runs):
            if not run.is_dir():
                options: dict[str, Any] = {"context": arguments.frames // 4, "training_rows": 500, "revisits": True}
                options["coarse_levels"] = tuple(range(1, arguments.coarse_levels + 1))
                make_run(run, 0.5 * number, truths=("raw", "decoded"), **shape, **options)
        page = folder / "page.html"
        began = time.perf_counter()
        write_page(Comparison.read(runs), page, embed=arguments.embed)
        written = time.perf_counter() - began
        openings = [open_page(page) for _ in range(arguments.openings)]
        result = {
            "runs": arguments.runs,
            **shape,
            "coarse_levels": arguments.coarse_levels,
            "embedded": arguments.embed,
            "page_megabytes": page.stat().st_size / 1e6,
            "video_megabytes": sum(video.stat().st_size for video in folder.glob("run-*/**/*.mp4")) / 1e6,
            "write_seconds": written,
            "load_average": os.getloadavg()[0],
            "machine": machine(),
            "median": {name: statistics.median(opening[name] for opening in openings) for name in openings[0]},
            "openings": openings,
        }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
