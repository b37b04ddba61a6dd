"""What a set of episodes adds up to; written by `mstv-data stats --json`, one writer and one reader."""

from pydantic import BaseModel, ConfigDict

from mstv.data.schema import Record


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitStatistics(_Frozen):
    """One split, or all of them.

    Attributes:
        split: name, or `all`.
        episodes, frames: their numbers.
        worlds: number of different worlds.
        hours: frames over frames a second, in hours.
        num_bytes: on disk.
        pose_frames: frames whose pose is known; what follows is None if there are none.
        distance: blocks walked, in the plane of x and z.
        turning: share of frames, without each episode's first, in which the view turned.
        revisit_rate: share of `pose_frames` whose pose was seen more than so many frames earlier, by that number.
    """

    split: str
    episodes: int
    frames: int
    worlds: int
    hours: float
    num_bytes: int
    pose_frames: int
    distance: float | None
    turning: float | None
    revisit_rate: dict[int, float] | None


class ActionCount(_Frozen):
    """Frames that a discrete action produced, and their share of all that are counted."""

    name: str
    frames: int
    share: float


class ActionColumn(_Frozen):
    """Values of one column of vector actions, in `unit`; `nonzero` is the share of frames where it is not zero."""

    name: str
    unit: str
    mean: float
    std: float
    minimum: float
    maximum: float
    nonzero: float


class ActionStatistics(_Frozen):
    """Actions of all episodes that have the same ones.

    Attributes:
        kind: `none`, `discrete` or `vector`.
        episodes: their number.
        frames: frames counted: all but the first of each episode, whose action is null by contract.
        null: share of null actions (-1, or zero in every column) among them; None for kind `none`.
        counts: of discrete actions, by id.
        columns: of vector actions, by column; empty if no frame is counted.
    """

    kind: str
    episodes: int
    frames: int
    null: float | None
    counts: tuple[ActionCount, ...] = ()
    columns: tuple[ActionColumn, ...] = ()


class SetStatistics(Record):
    """Statistics of a folder of raw episodes or of frame shards.

    Attributes:
        source: name of the folder.
        kind: `raw` or `frames`; the splits of raw episodes are those that `mstv-data shard` makes by default.
        fps: rates that occur, frames a second.
        image_sizes: (H, W) that occur.
        position_tolerance, angle_tolerance: of a revisit, blocks and degrees.
        splits: one each.
        total: all of them.
        actions: one for each kind and set of names that occurs.
    """

    source: str
    kind: str
    fps: tuple[float, ...]
    image_sizes: tuple[tuple[int, int], ...]
    position_tolerance: float
    angle_tolerance: float
    splits: tuple[SplitStatistics, ...]
    total: SplitStatistics
    actions: tuple[ActionStatistics, ...]
