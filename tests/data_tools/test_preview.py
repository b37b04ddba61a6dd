"""`mstv-data preview`: clips without loss, a page that stands alone, data that fits frame by frame."""

import json
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib.image import imread

from data_tools.cli import main
from data_tools.composition import Splitting
from data_tools.episode_choice import choose_episodes
from data_tools.episode_set import open_set
from data_tools.episode_writer import write_episode
from data_tools.preview import Preview, make_preview
from data_tools.sharding import Sharding, make_shards
from mstv.data.schema import ActionSpec, Source
from mstv.data.video import decode_video, frame_planes
from mstv.errors import UserError
from tests.data_tools.conftest import SPEC, moving_frames

WORLDS = {"train": ("a", "b"), "validation": ("c",), "test": ("d",)}


class Page(HTMLParser):
    """What a page loads, says and carries; fails on tags that are not closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.folder = path.parent
        self.links: list[str] = []
        self.videos: list[str] = []
        self.ids: list[str] = []
        self.text = self.styles = self._json = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag not in ("meta", "link", "input", "img"):
            self._open.append((tag, attributes))
        self.ids += [attributes["id"] or ""] if "id" in attributes else []
        self.videos += [attributes["src"] or ""] if tag == "video" else []
        self.links += [attributes[name] or "" for name in ("src", "href", "poster", "srcset") if name in attributes]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open[-1] if self._open else ("", {})
        if tag == "style":
            self.styles += data
        elif tag != "script":
            self.text += data
        elif attributes.get("type") == "application/json":
            self._json += data

    @property
    def data(self) -> list[dict[str, Any]]:
        return json.loads(self._json)

    def clip(self, number: int) -> Path:
        return self.folder / unquote(self.videos[number])


def preview(folder: Path, out: Path, **options: Any) -> Page:
    make_preview(folder, out, workers=1, **options)
    return Page(out / "index.html")


@pytest.fixture
def shards(raw: Path, tmp_path: Path) -> Path:
    make_shards(raw, tmp_path / "shards", Sharding(16, 2, splitting=Splitting(worlds=WORLDS)), workers=1)
    return tmp_path / "shards"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "made" / "preview"


def one_episode(folder: Path, num_frames: int = 12, world: str = "w", **options: Any) -> Path:
    frames = moving_frames(num_frames, 0)
    write_episode(folder, "one", frames, 20.0, Source(engine="test", world=world), **options)
    return folder


@pytest.mark.parametrize("clip_frames", [8, 21, 32, 500])
def test_clips_are_lossless_and_data_is_of_their_frames(clip_frames: int, raw: Path, shards: Path, out: Path) -> None:
    for folder in (raw, shards):
        page = preview(folder, out, clip_frames=clip_frames)
        record = Preview.read(out / "preview.json")
        assert record.source == folder.name and sorted(record.episodes) == [f"walk-{n}" for n in range(5)]
        for number, (key, data) in enumerate(zip(record.episodes, page.data, strict=True)):
            whole = list(frame_planes(raw / f"{key}.mp4"))
            shown = min(clip_frames, len(whole))
            assert list(frame_planes(page.clip(number))) == whole[:shown]
            assert (data["fps"], data["frames"]) == (20.0, shown)
            actions, poses = (np.load(raw / f"{key}.{name}.npy") for name in ("actions", "poses"))
            assert data["actions"]["names"] == list(SPEC.names)
            assert data["actions"]["rows"] == actions[:shown].tolist()
            np.testing.assert_allclose(data["poses"], poses[:shown], atol=6e-4)
            np.testing.assert_allclose(data["path"], poses[:, [0, 2]], atol=6e-3)


def test_clip_times_are_frame_over_fps(raw: Path, tmp_path: Path, out: Path) -> None:
    import av

    frames, rate = moving_frames(40, 0), 30000 / 1001
    write_episode(tmp_path / "ntsc", "walk", frames, rate, Source(engine="test", world="w"))
    make_shards(tmp_path / "ntsc", tmp_path / "packed", Sharding(8), workers=1)
    page = preview(tmp_path / "packed", out, clip_frames=37)
    with av.open(str(page.clip(0))) as container:
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(37) / rate, atol=1e-6)
    assert page.data[0]["fps"] == pytest.approx(rate)
    np.testing.assert_array_equal(decode_video(page.clip(0)), decode_video(tmp_path / "ntsc" / "walk.mp4")[:37])


def test_page_stands_alone(shards: Path, out: Path) -> None:
    page = preview(shards, out)
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {"index.html", "contact_sheet.png", "preview.json", *page.videos}
    for link in page.links:
        assert link in files or link == "data:," or link.removeprefix("#") in page.ids, link
    assert len(page.videos) == 5 and len(set(page.ids)) == len(page.ids)
    html = (out / "index.html").read_text()
    assert "url(" not in page.styles and "@import" not in page.styles and "prefers-color-scheme: dark" in page.styles
    assert "https:" not in html and html.replace("http://www.w3.org/2000/svg", "").count("http:") == 0
    for text in ("All 5 episodes", "walk-3", "world", "validation", "forward"):
        assert text in page.text


def test_contact_sheet_shows_every_episode(raw: Path, out: Path) -> None:
    preview(raw, out, episodes=2)
    two = imread(out / "contact_sheet.png")
    preview(raw, out, episodes=5)
    five = imread(out / "contact_sheet.png")
    assert two.shape[1] == five.shape[1] and 2.3 < five.shape[0] / two.shape[0] < 2.6
    assert len(np.unique(five.reshape(-1, five.shape[-1]), axis=0)) > 500  # coloured frames, not a blank sheet


def test_the_same_preview_each_time(shards: Path, tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        make_preview(shards, tmp_path / name, episodes=3, workers=workers)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path


def test_episodes_are_spread_over_splits_and_worlds(shards: Path) -> None:
    parts = open_set(shards)

    def chosen(count: int) -> list[tuple[str, str]]:
        return [(part.split, part.record(key).source.world) for part, key in choose_episodes(parts, count)]

    assert chosen(1) == [("train", "a")]
    assert chosen(3) == [("train", "a"), ("validation", "c"), ("test", "d")]
    assert chosen(4) == [("train", "a"), ("train", "b"), ("validation", "c"), ("test", "d")]
    assert len(chosen(5)) == len(chosen(50)) == 5
    keys = [key for _, key in choose_episodes(parts, 5)]
    assert sorted(keys) == [f"walk-{number}" for number in range(5)]


def test_few_parts_are_opened(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds = {"train": tuple("abcd")}
    make_shards(raw, tmp_path / "many", Sharding(16, 1, splitting=Splitting(worlds=worlds)), workers=1)
    parts = open_set(tmp_path / "many")
    opened: list[str] = []
    kind = type(parts[0])
    record = kind.record
    monkeypatch.setattr(kind, "record", lambda part, key: (opened.append(key), record(part, key))[1])
    assert [key for _, key in choose_episodes(parts, 2)] == opened == ["walk-0", "walk-2"]


def test_one_split_alone(shards: Path, out: Path) -> None:
    assert main(["preview", str(shards), str(out), "--split", "test", "--clip-frames", "8", "--workers", "1"]) == 0
    assert Preview.read(out / "preview.json").episodes == ("walk-4",)


def test_raw_splits_are_said_to_be_by_default(raw: Path, shards: Path, out: Path) -> None:
    assert "if it is not told otherwise" in preview(raw, out, episodes=1).text
    assert "if it is not told otherwise" not in preview(shards, out, episodes=1).text


def test_episode_without_actions_and_poses(tmp_path: Path, out: Path) -> None:
    page = preview(one_episode(tmp_path / "bare"), out)
    assert page.data == [{"fps": 20.0, "frames": 12, "actions": None, "poses": None}]
    assert "no actions" in page.text and "no poses" in page.text and "produced it" not in page.text


def test_vector_columns(tmp_path: Path, out: Path) -> None:
    spec = ActionSpec(
        kind="vector",
        names=("move", "jump", "camera_yaw", "camera_pitch", "key"),
        units=("blocks", "0/1", "degrees", "degrees", ""),
    )
    actions = np.zeros((12, 5), np.float32)
    actions[1:] = [0.25, 1, -7.5, 2, 1]
    poses = np.zeros((12, 5), np.float32)
    poses[3] = np.nan
    page = preview(one_episode(tmp_path / "vector", actions=actions, poses=poses, spec=spec), out)
    data = page.data[0]
    assert data["actions"]["camera"] == {"yaw": 2, "pitch": 3}
    assert data["actions"]["buttons"] == [1, 4]
    assert data["actions"]["limits"] == [0.25, 1, 7.5, 2, 1]
    assert data["actions"]["rows"] == actions.tolist()
    assert data["poses"][3] == [None] * 5 and data["poses"][4] == [0.0] * 5 and data["path"][3] == [None, None]


def test_long_walks_are_thinned_but_not_their_clips(tmp_path: Path, out: Path) -> None:
    poses = np.zeros((2500, 5), np.float32)
    poses[:, 0] = np.arange(2500)
    folder = tmp_path / "long"
    frames = np.repeat(np.zeros((1, 16, 16, 3), np.uint8), 2500, 0)
    write_episode(folder, "one", frames, 20.0, Source(engine="test", world="w"), poses=poses)
    data = preview(folder, out, clip_frames=100).data[0]
    assert len(data["path"]) == 1250 and len(data["poses"]) == 100
    assert all(after[0] - before[0] == 1 for before, after in pairwise(data["poses"]))


def test_names_from_files_are_only_text(tmp_path: Path, out: Path) -> None:
    evil = "</script><script>alert('$x^2$ &amp;')</script>"
    spec = ActionSpec(kind="discrete", names=(evil,))
    actions = np.zeros(12, np.int16)
    page = preview(one_episode(tmp_path / "evil", world=evil, actions=actions, spec=spec), out)
    assert evil in page.text
    assert page.data[0]["actions"]["names"] == [evil]
    assert (out / "index.html").read_text().count("<script") == 2


def test_an_older_preview_is_replaced_and_what_was_killed_is_cleared(raw: Path, shards: Path, out: Path) -> None:
    preview(raw, out, episodes=5)
    left = out.with_name(f".{out.name}.unfinished")
    left.mkdir()
    (left / "half").touch()
    page = preview(shards, out, episodes=1)
    assert len(list((out / "clips").iterdir())) == len(page.videos) == 1
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_anything_else_is_not_replaced(raw: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("mine")
    for folder, told in ((out, "holds something else"), (raw, "is or holds the folder"), (raw.parent, "is or holds")):
        assert main(["preview", str(raw), str(folder), "--workers", "1"]) == 2
        assert told in capsys.readouterr().err
    assert (out / "thesis.txt").read_text() == "mine"
    with pytest.raises(UserError, match="is not a folder"):
        make_preview(raw, out / "thesis.txt", workers=1)


@pytest.mark.parametrize("harm", ["video", "short video", "actions"])
def test_a_damaged_episode_is_named_and_the_old_preview_stays(
    harm: str, raw: Path, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preview(raw, out, episodes=1)
    before = (out / "index.html").read_bytes()
    video = raw / "walk-0.mp4"
    if harm == "video":
        video.write_bytes(video.read_bytes()[:900])
    elif harm == "short video":
        shutil.copy(raw / "walk-2.mp4", video)
    else:
        shutil.copy(raw / "walk-1.actions.npy", raw / "walk-0.actions.npy")
    assert main(["preview", str(raw), str(out), "--workers", "1"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("mstv-data: error: ") and "walk-0" in error
    assert (out / "index.html").read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_too_many_episodes_are_refused(raw: Path, out: Path) -> None:
    with pytest.raises(UserError, match="at most 100"):
        make_preview(raw, out, episodes=101)


def test_a_split_without_episodes_is_refused(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = one_episode(tmp_path / "bare")
    codes = [main(["preview", str(folder), str(out), "--split", split]) for split in ("train", "validation", "test")]
    assert sorted(codes) == [0, 2, 2]
    assert "holds no episode of split" in capsys.readouterr().err


def test_page_in_a_browser(raw: Path, out: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_path is None:
        pytest.skip("no chromium on this machine")
    page_data = preview(raw, out, episodes=2).data
    problems: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or problems.append(request.url))
        page.goto((out / "index.html").as_uri())
        page.wait_for_function("document.querySelector('video').readyState >= 2")
        article = page.locator("article").first
        names, rows = page_data[0]["actions"]["names"], page_data[0]["actions"]["rows"]
        for presses in range(1, 6):
            page.keyboard.press("ArrowRight")
            sync_api.expect(article.locator(".frame")).to_have_text(f"frame {presses}")
            assert article.locator(".action").text_content() == names[rows[presses]]
        page.keyboard.press("End")
        sync_api.expect(article.locator(".frame")).to_have_text(f"frame {page_data[0]['frames'] - 1}")
        page.keyboard.press(" ")  # plays again from the start
        page.wait_for_function("document.querySelector('video').ended")
        sync_api.expect(article.locator(".frame")).to_have_text(f"frame {page_data[0]['frames'] - 1}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        browser.close()
    assert problems == []
