"""Settings of a recording: every episode follows from them and its number alone."""

import hashlib
from dataclasses import dataclass

import mstv
from data_tools.engine import EngineSettings
from mstv.data.schema import ActionSpec, Source


@dataclass(frozen=True)
class Recording:
    """Settings that fix every episode of a recording; episode i follows from them and from i alone.

    Attributes:
        engine: which engine, and what it is asked for.
        policy: a name in `POLICIES`.
        num_frames: T of each episode.
        seed: of all worlds and walks.
        num_worlds: episodes cycle through this many worlds; None gives each its own.
        fps: frames a second written into the video; None takes the engine's own. One engine step is one frame.
        min_frames: an episode that the engine ends by itself counts from so many frames on; None: from `num_frames`.
        retries: how often an episode is begun again, in a new process of the engine, after one crashed or hung.
        hold: frames for which the policy holds an action; None is its own number.
    """

    engine: EngineSettings
    policy: str
    num_frames: int
    seed: int = 0
    num_worlds: int | None = None
    fps: float | None = None
    min_frames: int | None = None
    retries: int = 3
    hold: int | None = None

    def key(self, index: int) -> str:
        """Key of episode `index`."""
        return f"{self.engine.engine.key}-{index:06d}"

    def world(self, index: int) -> int:
        """Seed of the world of episode `index`, in [0, 2^31)."""
        return self._draw("world", index if self.num_worlds is None else index % self.num_worlds)

    def episode_seed(self, index: int) -> int:
        """Seed of the start and of the policy in episode `index`, in [0, 2^31)."""
        return self._draw("episode", index)

    def _draw(self, purpose: str, index: int) -> int:
        # A hash, since it is fixed for good and neighbours have nothing in common.
        digest = hashlib.sha256(f"{self.seed}/{purpose}/{index}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1

    def source(self, index: int, actions: ActionSpec, engine_versions: dict[str, str]) -> Source:
        """Where episode `index` comes from; `actions` are what the engine takes."""
        return Source(
            engine=self.engine.engine.name,
            versions={"mstv": mstv.__version__, **engine_versions},
            world=f"{self.engine.engine.key}-{self.world(index)}",
            seed=self.episode_seed(index),
            policy=self.policy,
            settings={
                "action_mode": actions.kind,
                **({} if self.hold is None else {"hold": self.hold}),
                **{f"option {name}": value for name, value in self.engine.options},
            },
        )
