"""The frozen sets of LoopWalk: what `sets.json` says of them, and whether a recording is one."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_tools.engine import EngineSettings, find_engine
from data_tools.recording import Recording
from mstv.data.schema import Episode, Split, atomic_path
from mstv.errors import UserError

SETS = Path(__file__).with_name("sets.json")
CLAIM = "set.json"
"""In the folder of a made set: what it was made from."""
Size = Literal["mini", "standard"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FrozenSplit(_Part):
    """One split, and the sha256 of what it holds; None as long as it was never recorded."""

    episodes: int = Field(gt=0, description="each walks in a world of its own")
    walks: str | None = Field(None, description="of worlds, seeds, actions and poses")
    frames: str | None = Field(None, description="of the decoded frames, which the video encoder has a hand in")


class FrozenSet(_Part):
    """All that a set follows from.

    Episodes are numbered through the splits in the order in which they stand, so that the test worlds come first and
    stay what they are when a later version has more to train on.
    """

    size: int = Field(gt=0, description="height and width of the frames in pixels")
    num_frames: int = Field(gt=0, description="of each episode")
    seed: int = Field(ge=0)
    policy: str
    hold: int | None = Field(description="see `mstv-data record --hold`")
    engine_options: dict[str, str | int | float | bool] = Field(description="of blockworld")
    splits: dict[Split, FrozenSplit]

    @property
    def recording(self) -> Recording:
        """What is recorded."""
        options = tuple(self.engine_options.items())
        engine = EngineSettings(find_engine("blockworld"), (self.size, self.size), options=options)
        return Recording(engine, self.policy, self.num_frames, self.seed, hold=self.hold)

    @property
    def num_episodes(self) -> int:
        """Of all splits."""
        return sum(split.episodes for split in self.splits.values())

    def keys(self, split: Split) -> tuple[str, ...]:
        """Keys of the episodes of a split."""
        first = 0
        for name, part in self.splits.items():
            if name == split:
                return tuple(self.recording.key(index) for index in range(first, first + part.episodes))
            first += part.episodes
        raise KeyError(split)

    def frozen(self, records: Mapping[str, Episode]) -> "FrozenSet":
        """The same set with the checksums of these episodes."""
        splits = {
            name: FrozenSplit(episodes=part.episodes, **checksums([records[key] for key in self.keys(name)]))
            for name, part in self.splits.items()
        }
        return self.model_copy(update={"splits": splits})

    @property
    def is_frozen(self) -> bool:
        """Whether it has checksums."""
        return all(part.walks is not None for part in self.splits.values())

    @property
    def unsigned(self) -> "FrozenSet":
        """The same set without checksums."""
        splits = {name: FrozenSplit(episodes=part.episodes) for name, part in self.splits.items()}
        return self.model_copy(update={"splits": splits})

    def check(self, records: Mapping[str, Episode]) -> bool:
        """Compare the checksums of recorded episodes with the frozen ones; False if there are none yet.

        Raises:
            UserError: they differ.
        """
        if not self.is_frozen:
            return False
        for (name, wanted), found in zip(self.splits.items(), self.frozen(records).splits.values(), strict=True):
            if found.walks != wanted.walks:
                raise UserError(f"split {name}: worlds, actions or poses are not those of the frozen set: report it")
            if found.frames != wanted.frames:
                raise UserError(
                    f"split {name}: the walks are those of the frozen set, but their frames are not: the video encoder "
                    "differs, install the versions of constraints.txt"
                )
        return True


def checksums(episodes: list[Episode]) -> dict[str, str]:
    """`walks` and `frames` of a split, see `FrozenSplit`."""
    walks, frames = hashlib.sha256(), hashlib.sha256()
    for episode in episodes:
        source, sums = episode.source, episode.checksums
        walks.update(f"{episode.key} {source.world} {source.seed} {sums['actions']} {sums['poses']}\n".encode())
        frames.update(f"{episode.key} {sums['frames']}\n".encode())
    return {"walks": walks.hexdigest(), "frames": frames.hexdigest()}


def read_sets(path: Path = SETS) -> dict[str, FrozenSet]:
    """The sets by name."""
    return {name: FrozenSet.model_validate(values) for name, values in json.loads(path.read_bytes()).items()}


def write_sets(sets: Mapping[str, FrozenSet], path: Path = SETS) -> None:
    """Write the file that `read_sets` reads."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({name: one.model_dump() for name, one in sets.items()}, indent=1) + "\n")


def claim(folder: Path, frozen: FrozenSet) -> None:
    """Write into a new folder which set it shall hold, or make sure that it is this one.

    Raises:
        UserError: the folder holds another set, or files that were not made as a set of LoopWalk.
    """
    if (folder / CLAIM).is_file():
        found = claimed(folder)
        if found.unsigned != frozen.unsigned or (found.is_frozen and frozen.is_frozen and found != frozen):
            raise UserError(
                f"{folder / CLAIM}: the folder holds another set of LoopWalk (or that of --quick): name another"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: holds files but no {CLAIM}, so it is no set of LoopWalk: name a new folder")
    else:
        sign(folder, frozen.unsigned)


def sign(folder: Path, frozen: FrozenSet) -> None:
    """Write which set a folder holds, with the checksums that its recordings were found to have."""
    with atomic_path(folder / CLAIM) as temporary:
        temporary.write_text(frozen.model_dump_json(indent=1) + "\n")


def claimed(folder: Path) -> FrozenSet:
    """The set that a folder was made as.

    Raises:
        UserError: none, or its file is damaged.
    """
    try:
        return FrozenSet.model_validate_json((folder / CLAIM).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder}: has no {CLAIM}: name a folder that experiments.loopwalk.run made") from None
    except ValidationError:
        raise UserError(f"{folder / CLAIM}: damaged: run experiments.loopwalk.make_set again") from None
