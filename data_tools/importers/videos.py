"""`mstv-data import videos`: any folder of video files becomes raw episodes without actions and poses."""

import argparse
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import av

import mstv
from data_tools import options
from data_tools.episode import check_same, complete_episodes, member_path, remove_episode
from data_tools.episode_writer import EpisodeWriter
from data_tools.importers.video_frames import VideoFrames
from data_tools.output_folder import output_folder
from data_tools.parallel import Bar, run_tasks
from mstv.data.schema import RECORD, Episode, Source, safe_key
from mstv.errors import UserError

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")
_LONGEST_WORLD = 120
"""Characters; the names of files that are made from it must stay below 255."""


@dataclass(frozen=True)
class VideoImport:
    """Settings of an import.

    Attributes:
        size: (H, W) of the episodes in pixels.
        fps: frames a second; None keeps each video's own.
        segment_frames: frames of an episode; a longer video becomes several.
        min_frames: a last segment with fewer frames is dropped.
    """

    size: tuple[int, int]
    fps: float | None = None
    segment_frames: int = 1024
    min_frames: int = 32


@dataclass(frozen=True)
class ImportedVideo:
    """What became of a video: its segments, those written now, frames in them, frames dropped at its end."""

    segments: int = 0
    written: int = 0
    num_frames: int = 0
    dropped: int = 0
    bad: str | None = None


def find_videos(folder: Path, leave_out: Path) -> dict[str, Path]:
    """Video files below `folder` by world id, sorted; none of those in `leave_out`.

    Raises:
        UserError: no such folder, no video in it, or two videos whose names give the same world id.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: give a folder of video files")
    worlds: dict[str, Path] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if (Path(parent) / name).resolve() != leave_out.resolve())
        for name in sorted(names):
            path = Path(parent) / name
            if path.suffix.lower() not in SUFFIXES or name.startswith("."):
                continue
            world = world_of(path.relative_to(folder))
            if world in worlds:
                raise UserError(f"{path}: its name gives the same world id as {worlds[world]}, {world}: rename one")
            worlds[world] = path
    if not worlds:
        raise UserError(f"{folder}: holds no video ({', '.join(SUFFIXES)}): give another folder")
    return dict(sorted(worlds.items()))


def world_of(name: Path) -> str:
    """World id of a video by its name relative to the source folder: one video, one world, so no split is crossed."""
    world = safe_key(str(name.with_suffix("")))
    if len(world) > _LONGEST_WORLD:
        digest = hashlib.sha256(str(name).encode()).hexdigest()[:12]
        world = f"{world[: _LONGEST_WORLD - 13]}-{digest}"
    return world


def segment_key(world: str, segment: int) -> str:
    """Key of a segment's episode."""
    return f"{world}-{segment:04d}"


def import_video(
    path: Path, name: str, world: str, out: Path, settings: VideoImport, existing: Sequence[str], skip_bad: bool
) -> ImportedVideo:
    """Import one video, except the segments in `existing`.

    The record of the first segment is written last: where it is, the whole video is imported.

    Raises:
        UserError: the video is damaged and `skip_bad` is not set; nothing of it stays.
    """
    segment = total = written = dropped = 0
    first: Episode | None = None
    try:
        video = VideoFrames(path, settings.size, settings.fps)
        with video as frames:
            while (frame := next(frames, None)) is not None:
                start = segment * settings.segment_frames
                key = segment_key(world, segment)
                ahead = list(islice(frames, min(settings.min_frames, settings.segment_frames) - 1))
                count = 1 + len(ahead)
                if count < settings.min_frames and count < settings.segment_frames:
                    dropped = count
                    break
                rest = chain([frame], ahead, islice(frames, settings.segment_frames - count))
                if key in existing:
                    count = sum(1 for _ in rest)
                else:
                    source = _source(path, name, world, start, settings)
                    with EpisodeWriter(out, key, video.fps, source, hold_record=segment == 0) as writer:
                        for picture in rest:
                            writer.add(picture)
                    first = first or writer.episode
                    count = writer.episode.num_frames
                    written += 1
                total += count
                segment += 1
        if first is not None and segment_key(world, 0) not in existing:
            first.write(member_path(out, segment_key(world, 0), RECORD))
    except UserError as error:
        for number in range(segment + 1):
            remove_episode(out, segment_key(world, number))
        if not skip_bad:
            raise
        return ImportedVideo(bad=str(error))
    return ImportedVideo(segment, written, total, dropped)


def _source(path: Path, name: str, world: str, first_frame: int, settings: VideoImport) -> Source:
    return Source(
        engine="videos",
        versions={"mstv": mstv.__version__, "av": av.__version__},
        world=world,
        file=name,
        first_frame=first_frame,
        settings={
            "fps": settings.fps or "of the source",
            "segment_frames": settings.segment_frames,
            "min_frames": settings.min_frames,
            "file_bytes": path.stat().st_size,
        },
    )


def import_videos(
    source: Path, out: Path, settings: VideoImport, workers: int = 2, skip_bad: bool = False
) -> dict[str, ImportedVideo]:
    """Import every video below `source`, except what is complete already; what became of each, by relative name.

    Raises:
        UserError: see `find_videos`; `out` is `source`; `out` holds episodes made with other settings; a damaged video.
    """
    if source.resolve() == out.resolve():
        raise UserError(f"{out}: is the folder of the videos: choose another output folder")
    videos = find_videos(source, out)
    with output_folder(out):
        existing: dict[str, list[str]] = {world: [] for world in videos}
        complete = complete_episodes(out)
        for key, episode in complete.items():
            world = episode.source.world
            if world in videos:
                wanted = _source(videos[world], str(videos[world].relative_to(source)), world, 0, settings)
                check_same(
                    out,
                    episode,
                    {
                        "source.engine": wanted.engine,
                        "height": settings.size[0],
                        "width": settings.size[1],
                        "source.file": wanted.file,
                        **{f"source.settings.{name}": value for name, value in wanted.settings.items()},
                    },
                )
                existing[world].append(key)
        report: dict[str, ImportedVideo] = {}
        tasks, names = [], []
        for world, path in videos.items():
            name = str(path.relative_to(source))
            if segment_key(world, 0) in existing[world]:
                report[name] = ImportedVideo(
                    segments=len(existing[world]), num_frames=sum(complete[key].num_frames for key in existing[world])
                )
            else:
                tasks.append((path, name, world, out, settings, existing[world], skip_bad))
                names.append(name)
        with Bar("import", len(videos), "videos") as bar:
            bar.skip(len(report))
            for index, video in run_tasks(import_video, tasks, workers):
                report[names[index]] = video
                bar.advance(video.num_frames)
    return dict(sorted(report.items()))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data import videos`."""
    parser.add_argument("source", type=Path, metavar="SRC", help="folder of videos, searched with all folders below")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of raw episodes, made if absent")
    parser.add_argument(
        "--size", type=options.size, required=True, metavar="N|HxW", help="pixels, even; the centre is cropped to it"
    )
    parser.add_argument("--fps", type=options.rate, help="frames a second to resample to (default: each video's own)")
    parser.add_argument(
        "--segment-frames",
        type=options.positive,
        default=1024,
        metavar="N",
        help="frames an episode; longer videos are cut (default: 1024)",
    )
    parser.add_argument(
        "--min-frames",
        type=options.positive,
        default=32,
        metavar="N",
        help="drop a last segment with fewer frames (default: 32)",
    )
    parser.add_argument("--skip-bad", action="store_true", help="go on without damaged videos, and list them")
    options.add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data import videos`."""
    settings = VideoImport(arguments.size, arguments.fps, arguments.segment_frames, arguments.min_frames)
    report = import_videos(arguments.source, arguments.out, settings, arguments.workers, arguments.skip_bad)
    for name, video in report.items():
        if video.dropped:
            what = f"the last {video.dropped} frames were" if video.segments else f"all {video.dropped} frames were"
            print(f"{name}: {what} dropped, fewer than --min-frames {settings.min_frames}")
        if video.bad:
            print(f"left out: {video.bad}")
    written = sum(video.written for video in report.values())
    segments = sum(video.segments for video in report.values())
    already = f" ({segments - written} were there already)" if segments > written else ""
    print(f"{arguments.out}: imported {written} episodes{already} from {len(report)} videos")
    return 0
