"""Checks of one raw episode: record, arrays, frames; every problem is a line of text."""

from dataclasses import dataclass, field
from pathlib import Path

from data_tools.episode import member_path
from data_tools.episode_reading import EpisodeReader, EpisodeReading
from data_tools.problems import Problems
from mstv.data.schema import ACTIONS, CAMPAIGN, POSES, RECORD, VIDEO, Episode
from mstv.errors import UserError


@dataclass
class RawReport:
    """What was found in one episode.

    Attributes:
        name: of its record.
        problems: one line each.
        episode: its record, if it can be read.
        num_frames: that decode, or that the record names if nothing is decoded.
        reading: of its frames, if they all decode.
    """

    name: str
    problems: Problems = field(default_factory=Problems)
    episode: Episode | None = None
    num_frames: int = 0
    reading: EpisodeReading | None = None


def raw_records(folder: Path) -> list[str]:
    """Names of the records of raw episodes in `folder`, sorted."""
    return sorted(
        path.name
        for path in folder.glob(f"*.{RECORD}")
        if path.is_file() and not path.name.startswith(".") and path.name != CAMPAIGN
    )


def incomplete_episodes(folder: Path) -> list[str]:
    """Videos in `folder` that have no record, sorted: recordings or imports that were not finished."""
    return sorted(
        path.name
        for path in folder.glob(f"*.{VIDEO}")
        if not path.name.startswith(".") and not path.with_suffix(f".{RECORD}").exists()
    )


def check_raw(folder: Path, name: str, decode: bool) -> RawReport:
    """Check the raw episode whose record is `name`; never raises for what is wrong in it.

    Args:
        folder: of raw episodes.
        name: `<key>.json`.
        decode: whether the video is decoded and compared with its checksum.
    """
    report = RawReport(name)
    with report.problems.caught():
        _check(folder, report, decode)
    return report


def _check(folder: Path, report: RawReport, decode: bool) -> None:
    problems = report.problems
    episode = Episode.read(folder / report.name)
    problems.expect(folder / report.name, "key", episode.key, report.name.removesuffix(f".{RECORD}"))
    report.episode = episode
    members = {}
    for extension in (VIDEO, ACTIONS, POSES):
        # The name in the folder, not the key in the record, which is not trusted.
        path = folder / f"{report.name.removesuffix(RECORD)}{extension}"
        promised = extension == VIDEO or extension.partition(".")[0] in episode.checksums
        if promised:
            with problems.caught():
                members[extension] = _read(path)
        elif path.exists():
            problems.append(f"{path}: stands beside a record that knows of none (field checksums)")
    where = str(member_path(folder, report.name.removesuffix(f".{RECORD}"), "")).removesuffix(".")
    actions = problems.expect_arrays(where, members, episode, episode.num_frames, episode.checksums)
    report.num_frames = episode.num_frames
    if decode and VIDEO in members:
        report.num_frames = 0
        reader = EpisodeReader(episode)
        if actions is not None:
            reader.add_actions(actions)
        size = episode.height, episode.width
        checksum = episode.checksums.get("frames")
        problems.expect_frames(f"{where}.{VIDEO}", members[VIDEO], size, episode.num_frames, checksum, reader.add_frame)
        report.reading = reader.reading()
        report.num_frames = report.reading.num_frames if report.reading else 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): make the episode again") from None
