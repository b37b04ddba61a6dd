"""Importing a foreign set: its recordings are found, then read, cut into segments and written, in parallel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import av

import mstv
from data_tools.episode import check_same, complete_episodes, member_path, remove_episode
from data_tools.episode_writer import EpisodeWriter
from data_tools.importers.recording import Recording, Track
from data_tools.importers.source_file import DamagedError
from data_tools.importers.video_frames import VideoFrames
from data_tools.output_folder import output_folder
from data_tools.parallel import Bar, run_tasks
from mstv.data.schema import RECORD, Episode, Source
from mstv.errors import UserError


@dataclass(frozen=True)
class Format:
    """A foreign format.

    Attributes:
        name: that of the command, and `source.engine` of the episodes.
        find: gives the recordings in a folder, except those in another one, the output.
        read: reads what stands beside a recording's video.
    """

    name: str
    find: Callable[[Path, Path], Sequence[Recording]]
    read: Callable[[Recording], Track]


@dataclass(frozen=True)
class ImportSettings:
    """Settings of an import.

    Attributes:
        size: (H, W) of the episodes in pixels.
        fps: frames a second to resample to; None, and always where there are actions, keeps each recording's own.
        segment_frames: frames of an episode; a longer recording becomes several.
        min_frames: a last segment with fewer frames is dropped.
    """

    size: tuple[int, int]
    fps: float | None = None
    segment_frames: int = 1024
    min_frames: int = 32


@dataclass(frozen=True)
class Imported:
    """What became of a recording: its segments, those written now, frames in them, frames dropped at its end."""

    segments: int = 0
    written: int = 0
    num_frames: int = 0
    dropped: int = 0
    bad: str | None = None


def import_recording(
    form: Format, recording: Recording, out: Path, settings: ImportSettings, existing: Sequence[str], skip_bad: bool
) -> Imported:
    """Import one recording, except the segments in `existing`.

    The record of the first segment is written last: where it is, the whole recording is imported.

    Raises:
        DamagedError: the recording is damaged and `skip_bad` is not set; nothing of it stays.
        UserError: `out` cannot be written.
    """
    segment = total = written = dropped = 0
    first: Episode | None = None
    try:
        recording.check_files()
        track = form.read(recording)
        track.check(recording.files[0] if recording.files else recording.video)
        has_actions = track.actions is not None
        video = VideoFrames(recording.video, settings.size, track.fps or settings.fps, every_frame=has_actions)
        with video as decoded:
            frames = track.frames(decoded, recording)
            while (frame := next(frames, None)) is not None:
                start = segment * settings.segment_frames
                key = recording.segment_key(segment)
                ahead = list(islice(frames, min(settings.min_frames, settings.segment_frames) - 1))
                count = 1 + len(ahead)
                if count < settings.min_frames and count < settings.segment_frames:
                    dropped = count
                    break
                rest = chain([frame], ahead, islice(frames, settings.segment_frames - count))
                if key in existing:
                    count = sum(1 for _ in rest)
                else:
                    writer = EpisodeWriter(
                        out,
                        key,
                        video.fps,
                        _source(form, recording, start, settings, track),
                        track.spec,
                        action_shift=track.shift,
                        subset=recording.subset,
                        hold_record=segment == 0,
                    )
                    with writer:
                        for number, picture in enumerate(rest, start):
                            writer.add(picture, *track.row(number, first=number == start))
                    first = first or writer.episode
                    count = writer.episode.num_frames
                    written += 1
                total += count
                segment += 1
        if first is not None and recording.segment_key(0) not in existing:
            first.write(member_path(out, recording.segment_key(0), RECORD))
    except DamagedError as error:
        for key in {*existing, *(recording.segment_key(number) for number in range(segment + 1))}:
            remove_episode(out, key)
        if not skip_bad:
            raise
        return Imported(bad=str(error))
    return Imported(segment, written, total, dropped)


def _source(
    form: Format, recording: Recording, first_frame: int, settings: ImportSettings, track: Track | None = None
) -> Source:
    """Where a segment comes from; without a track, only what a resumed import compares."""
    return Source(
        engine=form.name,
        versions={"mstv": mstv.__version__, "av": av.__version__},
        world=recording.world,
        file=recording.name,
        first_frame=first_frame,
        settings={
            "fps": settings.fps or "of the source",
            "segment_frames": settings.segment_frames,
            "min_frames": settings.min_frames,
            "file_bytes": recording.num_bytes,
            **({"published_split": recording.split} if recording.split else {}),
            **(track.settings if track else {}),
        },
    )


def _existing(form: Format, recordings: dict[str, Recording], out: Path, settings: ImportSettings) -> dict[str, dict]:
    """Complete episodes by key, by key of their recording.

    Raises:
        UserError: one was made with other settings or from another file.
    """
    existing: dict[str, dict[str, Episode]] = {}
    sources: dict[str, Source] = {}
    for key, episode in complete_episodes(out).items():
        stem = key.rpartition("-")[0]
        if stem not in recordings:
            continue
        if stem not in sources:
            sources[stem] = _source(form, recordings[stem], 0, settings)
        check_same(
            out,
            episode,
            {
                "source.engine": form.name,
                "height": settings.size[0],
                "width": settings.size[1],
                "source.file": recordings[stem].name,
                **{f"source.settings.{name}": value for name, value in sources[stem].settings.items()},
            },
        )
        existing.setdefault(stem, {})[key] = episode
    return existing


def import_recordings(
    form: Format, source: Path, out: Path, settings: ImportSettings, workers: int = 2, skip_bad: bool = False
) -> dict[str, Imported]:
    """Import every recording below `source`, except what is complete already; what became of each, by name.

    Raises:
        UserError: nothing to import; `out` is `source`; two recordings of one key; `out` holds episodes made with
            other settings; a damaged recording.
    """
    if source.resolve() == out.resolve():
        raise UserError(f"{out}: is the folder of the recordings: choose another output folder")
    recordings: dict[str, Recording] = {}
    for recording in form.find(source, out):
        other = recordings.setdefault(recording.key, recording)
        if other is not recording:
            raise UserError(
                f"{recording.video}: its name gives the same key as {other.video}, {recording.key}: rename one"
            )
    with output_folder(out):
        existing = _existing(form, recordings, out, settings)
        report: dict[str, Imported] = {}
        tasks, names = [], []
        for key, recording in sorted(recordings.items()):
            episodes = existing.get(key, {})
            if recording.segment_key(0) in episodes:
                report[recording.name] = Imported(
                    segments=len(episodes), num_frames=sum(episode.num_frames for episode in episodes.values())
                )
            else:
                tasks.append((form, recording, out, settings, tuple(episodes), skip_bad))
                names.append(recording.name)
        with Bar("import", len(recordings), "recordings") as bar:
            bar.skip(len(report))
            for index, imported in run_tasks(import_recording, tasks, workers):
                report[names[index]] = imported
                bar.advance(imported.num_frames)
    return dict(sorted(report.items()))
