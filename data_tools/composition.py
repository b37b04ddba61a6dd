"""Which episodes go into which shard: worlds to splits, then episodes in order of their keys to tars."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from data_tools.episode import RawEpisodes
from mstv.data.schema import ACTIONS, POSES, SPLITS, VIDEO, Episode, Split, split_of
from mstv.errors import UserError

SHARED_FIELDS = ("fps", "height", "width", "actions")
"""Fields in which all episodes of a set agree."""


@dataclass(frozen=True)
class Splitting:
    """How worlds are assigned to splits.

    Attributes:
        fractions: expected shares of train, validation and test worlds; they sum to 1.
        worlds: worlds that are assigned by name, by split; all others are assigned by a hash of their id.

    Raises:
        UserError: fractions that are negative or do not sum to 1, or a world named for two splits.
    """

    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    worlds: Mapping[Split, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.fractions) != 3 or min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise UserError(f"fractions are {self.fractions}: give three that are >= 0 and sum to 1, such as .8,.1,.1")
        home: dict[str, str] = {}
        for split, worlds in self.worlds.items():
            for world in worlds:
                if home.setdefault(world, split) != split:
                    raise UserError(f"world {world}: is named for {home[world]} and for {split}: name it once")

    def split(self, world: str) -> Split:
        """Split of a world."""
        return self._homes.get(world) or split_of(world, self.fractions)

    @cached_property
    def _homes(self) -> dict[str, Split]:
        return {world: split for split, worlds in self.worlds.items() for world in worlds}


def check_alike(raw: RawEpisodes) -> Episode:
    """The first episode, once all agree with it in what a set has in common.

    Raises:
        UserError: names two episodes and the field in which they differ.
    """
    first, *others = raw.records.values()
    for episode in others:
        for name in SHARED_FIELDS:
            here, there = getattr(first, name), getattr(episode, name)
            if here != there:
                raise UserError(
                    f"{raw.folder}: episodes {first.key} and {episode.key} differ in field {name} "
                    f"({here}, {there}): put them in folders of their own"
                )
    return first


def compose(
    raw: RawEpisodes, splitting: Splitting, episodes_per_shard: int | None, shard_bytes: int
) -> dict[str, tuple[str, ...]]:
    """Keys of the episodes of each tar, by its name; the same for the same episodes.

    Args:
        raw: the episodes.
        splitting: assigns their worlds.
        episodes_per_shard: episodes of a tar but the last of a split; None closes a tar by size.
        shard_bytes: a tar takes no more episodes once their files hold so many bytes.

    Raises:
        UserError: a world is named that no episode has.
    """
    present = {episode.source.world for episode in raw.records.values()}
    for worlds in splitting.worlds.values():
        for world in worlds:
            if world not in present:
                some = ", ".join(sorted(present)[:5]) + (", ..." if len(present) > 5 else "")
                raise UserError(f"world {world}: no episode of {raw.folder} has it; there are {len(present)}: {some}")
    tars: dict[str, tuple[str, ...]] = {}
    keys_of: dict[str, list[str]] = {split: [] for split in SPLITS}
    for key, episode in raw.records.items():
        keys_of[splitting.split(episode.source.world)].append(key)
    for split, keys in keys_of.items():
        group: list[str] = []
        group_bytes = number = 0
        for key in keys:
            group.append(key)
            group_bytes += _episode_bytes(raw, key)
            full = len(group) >= episodes_per_shard if episodes_per_shard else group_bytes >= shard_bytes
            if full or key == keys[-1]:
                tars[f"{split}-{number:06d}.tar"] = tuple(group)
                group, group_bytes, number = [], 0, number + 1
    return tars


def _episode_bytes(raw: RawEpisodes, key: str) -> int:
    total = 0
    for extension in (VIDEO, ACTIONS, POSES):
        path = raw.folder / f"{key}.{extension}"
        if path.is_file():
            total += path.stat().st_size
        elif extension == VIDEO:
            raise UserError(f"{path}: is missing, though its record is there: make the episode again")
    return total
