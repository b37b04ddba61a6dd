"""Which episodes of a set are shown: a few, spread over its splits and worlds."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeVar

from data_tools.episode_set import Part

_Item = TypeVar("_Item")


def choose_episodes(parts: Sequence[Part], count: int) -> list[tuple[Part, str]]:
    """Some episodes of a set, spread over its splits and worlds; the same ones each time.

    Of a large set only as many parts are opened as episodes are wanted.

    Args:
        parts: of the set.
        count: episodes wanted, >= 1.

    Returns:
        (part, key), split by split; all of them if the set holds no more than `count`.
    """
    parts = [part for part in parts if part.keys]
    by_split = {
        split: [part for part in parts if part.split == split] for split in dict.fromkeys(part.split for part in parts)
    }
    sizes = {split: sum(len(part.keys) for part in of_split) for split, of_split in by_split.items()}
    quotas = dict.fromkeys(by_split, 0)
    while sum(quotas.values()) < min(count, sum(sizes.values())):
        # In turn, so that a small split is seen too; one that has no more to give leaves the rest to the others.
        open_splits = [split for split in quotas if quotas[split] < sizes[split]]
        quotas[min(open_splits, key=lambda split: quotas[split])] += 1
    return [choice for split, quota in quotas.items() if quota for choice in _spread_worlds(by_split[split], quota)]


def _spread_worlds(parts: Sequence[Part], count: int) -> list[tuple[Part, str]]:
    """Some episodes of one split, of as many worlds as can be."""
    some = _evenly(parts, count)  # enough, since every part holds an episode
    worlds: dict[str, list[tuple[Part, str]]] = {}
    for part in some:
        for key in part.keys:
            worlds.setdefault(part.record(key).source.world, []).append((part, key))
    if len(worlds) >= count:
        return [world[0] for world in _evenly(list(worlds.values()), count)]
    turns = zip_longest(*worlds.values())
    return [choice for turn in turns for choice in turn if choice is not None][:count]


def _evenly(items: Sequence[_Item], count: int) -> list[_Item]:
    """At most `count` of `items`, evenly spaced, the first among them."""
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]
