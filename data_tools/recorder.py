"""`mstv-data record`: an engine and a policy make raw episodes, the same ones for any number of workers."""

import argparse
import functools
import hashlib
import inspect
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import mstv
from data_tools import options
from data_tools.engine import ENGINES, action_spec
from data_tools.episode import check_same, complete_episodes, remove_episode
from data_tools.episode_writer import EpisodeWriter
from data_tools.output_folder import output_folder
from data_tools.parallel import Bar, run_tasks
from data_tools.policies import POLICIES, Policy
from mstv.data.schema import Episode, Source, safe_key
from mstv.errors import UserError


@dataclass(frozen=True)
class Recording:
    """Settings that fix every episode of a recording; episode i follows from them and from i alone.

    Attributes:
        engine, policy: names in `ENGINES` and `POLICIES`.
        num_frames: T of each episode.
        size: (H, W) in pixels.
        action_mode: `discrete` or `vector`.
        seed: of all worlds and walks.
        num_worlds: episodes cycle through this many worlds; None gives each its own.
        fps: frames a second written into the video; one engine step is one frame.
    """

    engine: str
    policy: str
    num_frames: int
    size: tuple[int, int]
    action_mode: str = "discrete"
    seed: int = 0
    num_worlds: int | None = None
    fps: float = 20.0

    def key(self, index: int) -> str:
        """Key of episode `index`."""
        return f"{safe_key(self.engine)}-{index:06d}"

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

    def source(self, index: int) -> Source:
        """Where episode `index` comes from."""
        packages = ENGINES[self.engine].packages
        return Source(
            engine=self.engine,
            versions={"mstv": mstv.__version__, **{package: version(package) for package in packages}},
            world=f"{safe_key(self.engine)}-{self.world(index)}",
            seed=self.episode_seed(index),
            policy=self.policy,
            settings={"action_mode": self.action_mode},
        )

    def make_policy(self) -> Policy:
        """The policy, for this action mode.

        Raises:
            UserError: it does not speak this action mode.
        """
        policy: Any = POLICIES[self.policy]
        # A policy that takes no action mode speaks discrete actions only.
        if "action_mode" in inspect.signature(policy).parameters:
            return policy(action_mode=self.action_mode)
        if self.action_mode != "discrete":
            raise UserError(
                f"policy {self.policy}: speaks no {self.action_mode} actions: "
                "use --action-mode discrete, or another --policy"
            )
        return policy()


@functools.lru_cache(maxsize=1)
def _environment(engine: str, size: tuple[int, int], action_mode: str) -> gymnasium.Env[Any, Any]:
    """The environment, kept from episode to episode; `reset` makes it forget."""
    return ENGINES[engine].make(size, action_mode)


def record_episode(folder: Path, recording: Recording, index: int) -> Episode:
    """Record episode `index` into `folder`; frame 0 is what `reset` shows, with the null action.

    Raises:
        UserError: the engine ended the episode too early, or the folder cannot be written.
    """
    env = _environment(recording.engine, recording.size, recording.action_mode)
    spec, policy, seed = action_spec(env), recording.make_policy(), recording.episode_seed(index)
    writer = EpisodeWriter(folder, recording.key(index), recording.fps, recording.source(index), spec)
    null = spec.null(1)
    assert null is not None
    with writer:
        frame, info = env.reset(seed=seed, options={"world": recording.world(index)})
        policy.reset(np.random.default_rng(seed))
        writer.add(_pixels(frame), null[0], info.get("pose"))
        for number in range(1, recording.num_frames):
            action = policy.act(info)
            frame, _, terminated, truncated, info = env.step(action)
            writer.add(_pixels(frame), action, info.get("pose"))
            if (terminated or truncated) and number + 1 < recording.num_frames:
                raise UserError(
                    f"{recording.key(index)}: the engine ended the episode after {number + 1} frames: "
                    f"choose --frames {number + 1} or less"
                )
    return writer.episode


def _pixels(observation: Any) -> np.ndarray:
    return observation["pov"] if isinstance(observation, dict) else observation


def record(folder: Path, recording: Recording, num_episodes: int, workers: int) -> tuple[int, int]:
    """Record episodes 0 .. `num_episodes` - 1, except those that are complete already.

    Returns:
        (episodes recorded now, episodes that were there already).

    Raises:
        UserError: an existing episode was made with other settings (found before anything is recorded), or the
            folder cannot be written.
    """
    recording.make_policy()
    spec = action_spec(_environment(recording.engine, recording.size, recording.action_mode))
    with output_folder(folder):
        existing = complete_episodes(folder)
        missing = []
        for index in range(num_episodes):
            if recording.key(index) not in existing:
                missing.append(index)
                continue
            source = recording.source(index)
            wanted = {
                "source.engine": source.engine,
                "source.policy": source.policy,
                "num_frames": recording.num_frames,
                "height": recording.size[0],
                "width": recording.size[1],
                "fps": recording.fps,
                "source.settings.action_mode": recording.action_mode,
                "source.seed": source.seed,
                "source.world": source.world,
                "actions": spec,
            }
            check_same(folder, existing[recording.key(index)], wanted)
        try:
            with Bar("record", num_episodes, "episodes") as bar:
                bar.skip(num_episodes - len(missing))
                for _, episode in run_tasks(record_episode, [(folder, recording, index) for index in missing], workers):
                    bar.advance(episode.num_frames)
        except BaseException:
            complete = complete_episodes(folder)
            for index in missing:
                if recording.key(index) not in complete:
                    remove_episode(folder, recording.key(index))
            raise
    return len(missing), num_episodes - len(missing)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data record`."""
    parser.add_argument("--engine", choices=sorted(ENGINES), default="blockworld", help="(default: blockworld)")
    parser.add_argument("--policy", choices=sorted(POLICIES), default="loopwalk", help="who walks (default: loopwalk)")
    parser.add_argument(
        "--episodes", type=options.positive, default=64, help="episodes there shall be in the end (default: 64)"
    )
    parser.add_argument("--frames", type=options.positive, default=1024, help="frames an episode (default: 1024)")
    parser.add_argument(
        "--size", type=options.size, default=(128, 128), help="N or HxW pixels, even (default: 128)", metavar="N|HxW"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of raw episodes, made if absent")
    parser.add_argument("--seed", type=options.natural, default=0, help="of all worlds and walks (default: 0)")
    parser.add_argument(
        "--worlds",
        type=options.positive,
        help="cycle through so many worlds (default: every episode has its own)",
    )
    parser.add_argument("--fps", type=options.rate, help="frames a second in the video (default: the engine's own)")
    parser.add_argument("--action-mode", choices=("discrete", "vector"), default="discrete", help="(default: discrete)")
    options.add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data record`."""
    recording = Recording(
        engine=arguments.engine,
        policy=arguments.policy,
        num_frames=arguments.frames,
        size=arguments.size,
        action_mode=arguments.action_mode,
        seed=arguments.seed,
        num_worlds=arguments.worlds,
        fps=arguments.fps or ENGINES[arguments.engine].fps,
    )
    new, old = record(arguments.out, recording, arguments.episodes, arguments.workers)
    already = f" ({old} were there already)" if old else ""
    print(f"{arguments.out}: recorded {new} episodes of {recording.num_frames} frames{already}")
    return 0
