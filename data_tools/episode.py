"""Raw episodes on disk: which there are, and what they hold."""

import copy
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from mstv.data.schema import (
    ACTIONS,
    CAMPAIGN,
    MANIFEST,
    POSES,
    RECORD,
    VIDEO,
    Episode,
    array_sha256,
)
from mstv.data.shards import read_npy
from mstv.errors import UserError


def member_path(folder: Path, key: str, extension: str) -> Path:
    """Where a member (`VIDEO`, `ACTIONS`, `POSES` or `RECORD`) of an episode stands."""
    return folder / f"{key}.{extension}"


def remove_episode(folder: Path, key: str) -> None:
    """Delete an episode, its record first, so that it is never taken for complete; absent files are fine."""
    for extension in (RECORD, VIDEO, ACTIONS, POSES):
        member_path(folder, key, extension).unlink(missing_ok=True)


def complete_episodes(folder: Path) -> dict[str, Episode]:
    """Records of the complete episodes in `folder` by key, sorted; empty if there are none or no such folder.

    Raises:
        UserError: a JSON file that is no episode record, or not of the key in its name.
    """
    if not folder.is_dir():
        return {}
    names = sorted(
        name
        for name in os.listdir(folder)
        if name.endswith(f".{RECORD}") and not name.startswith(".") and name != CAMPAIGN
    )
    if MANIFEST in names:
        raise UserError(f"{folder}: holds a set of shards ({MANIFEST}), not raw episodes: give another folder")
    episodes = {}
    for name in names:
        episode = Episode.read(folder / name)
        if name != f"{episode.key}.{RECORD}":
            raise UserError(f"{folder / name}: field key is {episode.key}: the file was renamed, name it as its key")
        episodes[episode.key] = episode
    return episodes


class RawEpisodes:
    """The complete episodes of a folder; files of incomplete ones are ignored.

    Args:
        folder: of raw episodes.

    Attributes:
        records: record of each episode by key, sorted by key.

    Raises:
        UserError: no such folder, or no complete episode in it.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder: give the folder of raw episodes")
        self.folder = folder
        self.records = complete_episodes(folder)
        if not self.records:
            raise UserError(f"{folder}: holds no complete episode (<key>.json): record or import some first")

    def only(self, keys: Iterable[str]) -> "RawEpisodes":
        """The same folder with these episodes alone, cheap to send to a worker."""
        part = copy.copy(self)
        part.records = {key: self.records[key] for key in keys}
        return part

    def video(self, key: str) -> Path:
        """The episode's mp4."""
        return member_path(self.folder, key, VIDEO)

    def array(self, key: str, extension: str) -> np.ndarray | None:
        """The episode's actions (`ACTIONS`) or poses (`POSES`), or None if its record knows of none.

        Raises:
            UserError: the file is missing, damaged or not the one that was written.
        """
        name = extension.partition(".")[0]
        path = member_path(self.folder, key, extension)
        checksum = self.records[key].checksums.get(name)
        if checksum is None:
            return None
        try:
            array = read_npy(path.read_bytes(), path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}): make the episode again") from None
        if array_sha256(array) != checksum:
            raise UserError(f"{path}: is not what was written (field checksums.{name}): make the episode again")
        return array


def check_same(folder: Path, episode: Episode, wanted: Mapping[str, object]) -> None:
    """Refuse an existing episode that was made with other settings.

    Args:
        folder: of the episode.
        episode: the existing one.
        wanted: value by field name, dotted, such as `source.seed`.

    Raises:
        UserError: names the file, the first field that differs, and both values.
    """
    for field, value in wanted.items():
        found: object = episode
        for name in field.split("."):
            found = found.get(name) if isinstance(found, Mapping) else getattr(found, name)
        if found != value:
            path = member_path(folder, episode.key, RECORD)
            raise UserError(
                f"{path}: field {field} is {found}, but {value} is asked for: "
                "use the settings it was made with, or choose another output folder"
            )
