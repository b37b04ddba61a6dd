"""`mstv-data preview`: a contact sheet and a page with playable clips of some episodes of a set."""

import argparse
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from data_tools import options
from data_tools.contact_sheet import write_contact_sheet
from data_tools.episode_choice import choose_episodes
from data_tools.episode_set import is_sharded, open_set
from data_tools.episode_view import EpisodeView
from data_tools.parallel import Bar, run_tasks
from data_tools.preview_page import render_page
from mstv.data.schema import SPLITS, Record
from mstv.errors import UserError

PAGE, SHEET, CLIPS, RECORD_FILE = "index.html", "contact_sheet.png", "clips", "preview.json"

MAX_EPISODES = 100
"""More would make a page that no browser likes, and a contact sheet that cannot be drawn."""


class Preview(Record):
    """`preview.json` in a preview's folder: what it shows. Only a folder that holds one is ever replaced."""

    source: str
    episodes: tuple[str, ...]


def make_preview(
    folder: Path, out: Path, episodes: int = 8, split: str | None = None, clip_frames: int = 256, workers: int = 2
) -> Preview:
    """Write the preview of a set; the same set gives the same preview.

    Args:
        folder: of raw episodes or of frame shards.
        out: folder of the preview; an older preview there is replaced.
        episodes: how many are shown, spread over splits and worlds, 1 to `MAX_EPISODES`.
        split: shows this one alone.
        clip_frames: frames of each clip, from the start of its episode.
        workers: processes.

    Raises:
        UserError: too many `episodes`, no set in `folder`, none of its episodes in `split`, a damaged episode, or
            `out` cannot be written or is something else than a preview.
    """
    if episodes > MAX_EPISODES:
        raise UserError(f"episodes is {episodes}: a page holds at most {MAX_EPISODES}, choose fewer")
    _check_out(folder, out)
    parts = [part for part in open_set(folder) if split in (None, part.split)]
    if not parts:
        raise UserError(f"{folder}: holds no episode of split {split}: leave --split out, or choose another")
    source = folder.resolve().name
    chosen = choose_episodes(parts, episodes)
    preview = Preview(source=source, episodes=tuple(key for _, key in chosen))
    with _fresh_folder(out) as unfinished:
        (unfinished / CLIPS).mkdir()
        tasks = [
            (part, key, unfinished / CLIPS / f"{number:02d}-{key}.mp4", clip_frames)
            for number, (part, key) in enumerate(chosen)
        ]
        views: dict[int, EpisodeView] = {}
        with Bar("preview", len(tasks), "episodes") as bar:
            for index, view in run_tasks(EpisodeView.make, tasks, workers):
                views[index] = view
                bar.advance(view.num_frames)
        in_order = [views[index] for index in range(len(tasks))]
        write_contact_sheet(in_order, unfinished / SHEET)
        num_episodes = sum(len(part.keys) for part in parts)
        page = render_page(in_order, source, num_episodes, is_sharded(parts), CLIPS, SHEET)
        (unfinished / PAGE).write_text(page, encoding="utf-8")
        preview.write(unfinished / RECORD_FILE)
    return preview


def _check_out(folder: Path, out: Path) -> None:
    """Refuse to replace anything but an older preview, or an empty folder."""
    if out.resolve() == folder.resolve() or folder.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{out}: is or holds the folder of the episodes: choose another output folder")
    if not out.exists() and not out.is_symlink():
        return
    if out.is_symlink() or not out.is_dir():
        raise UserError(f"{out}: is not a folder: choose another output folder")
    if any(out.iterdir()) and not (out / RECORD_FILE).is_file():
        raise UserError(f"{out}: holds something else than a preview (no {RECORD_FILE}): choose another output folder")


@contextlib.contextmanager
def _fresh_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place on success, and goes on failure."""
    out = out.absolute()
    unfinished, old = (out.with_name(f".{out.name}.{state}") for state in ("unfinished", "old"))
    try:
        # What a run left that was killed.
        shutil.rmtree(unfinished, ignore_errors=True)
        if old.exists() and not out.exists():
            old.rename(out)
        unfinished.mkdir(parents=True)
        yield unfinished
        if out.exists():
            out.rename(old)
        unfinished.rename(out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror or error}): choose another output folder") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data preview`."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of raw episodes or of frame shards")
    parser.add_argument(
        "out", type=options.folder, metavar="OUT", help="folder of the preview; an older preview is replaced"
    )
    parser.add_argument(
        "--episodes",
        type=options.positive,
        default=8,
        metavar="N",
        help=f"episodes shown, spread over splits and worlds, at most {MAX_EPISODES} (default: 8)",
    )
    parser.add_argument("--split", choices=SPLITS, help="show this split alone")
    parser.add_argument(
        "--clip-frames",
        type=options.positive,
        default=256,
        metavar="N",
        help="frames of a clip, from the start of its episode (default: 256)",
    )
    options.add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data preview`."""
    preview = make_preview(
        arguments.folder,
        arguments.out,
        arguments.episodes,
        arguments.split,
        arguments.clip_frames,
        arguments.workers,
    )
    print(f"{arguments.out / PAGE}: shows {len(preview.episodes)} episodes of {preview.source}; open it in a browser")
    return 0
