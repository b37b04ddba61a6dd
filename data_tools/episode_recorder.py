"""Records one episode, in a new process of the engine where the last one crashed or hung."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_tools.engine import EngineSettings
from data_tools.engine_process import EngineFailure, EngineProcess, View
from data_tools.episode_writer import EpisodeWriter
from data_tools.fitting import Fitting
from data_tools.policies import make_policy
from data_tools.recording import Recording
from mstv.data.schema import Episode
from mstv.errors import UserError


@dataclass(frozen=True)
class Recorded:
    """A recorded episode, and what engines died of on the way to it."""

    episode: Episode
    engine_failures: tuple[str, ...]


class RunningEngine:
    """The engine of this process, kept from episode to episode; `reset` makes it forget."""

    def __init__(self) -> None:
        self._settings: EngineSettings | None = None
        self._engine: EngineProcess | None = None

    def get(self, settings: EngineSettings) -> EngineProcess:
        """The running engine, started if need be."""
        if self._engine is None or settings != self._settings:
            self.end()
            self._engine, self._settings = EngineProcess(settings), settings
        return self._engine

    def end(self) -> None:
        """End it, if it runs."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def kill(self) -> None:
        """End it at once, if it runs."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.kill()


running_engine = RunningEngine()


def record_episode(folder: Path, recording: Recording, index: int) -> Recorded:
    """Record episode `index` into `folder`; frame 0 is what a reset shows, with the null action.

    An engine that crashes or hangs is killed, and the episode begun again in a new one.

    Raises:
        UserError: the engine failed too often or ended the episode too early, or the folder cannot be written.
    """
    failures: list[str] = []
    while True:
        try:
            return Recorded(_attempt(folder, recording, index), tuple(failures))
        except EngineFailure as failure:
            running_engine.kill()
            failures.append(f"{recording.key(index)}: {failure}")
            if len(failures) > recording.retries:
                slow = ", or give --step-seconds more if it is only slow" if "no answer" in failures[-1] else ""
                raise UserError(
                    f"{failures[-1]}: {len(failures)} times in a row; run `mstv-data doctor`{slow}"
                ) from None
        except BaseException:
            running_engine.kill()
            raise


def _attempt(folder: Path, recording: Recording, index: int) -> Episode:
    engine = running_engine.get(recording.engine)
    spec, policy, seed = (
        engine.actions.spec,
        make_policy(recording.policy, engine.actions, recording.hold, index),
        recording.episode_seed(index),
    )
    source = recording.source(index, spec, engine.versions)
    writer = EpisodeWriter(folder, recording.key(index), recording.fps or engine.fps, source, spec)
    null, fit = spec.null(1), Fitting(recording.engine.size)
    assert null is not None
    least = recording.min_frames or recording.num_frames
    with writer:
        view = engine.reset(seed, recording.world(index))
        policy.reset(np.random.default_rng(seed))
        writer.add(fit(view.frame), null[0], view.pose)
        for number in range(1, recording.num_frames):
            if view.ended:
                if number < least:
                    raise UserError(
                        f"{recording.key(index)}: the engine ended the episode after {number} frames: "
                        f"choose --min-frames {number} or less"
                    )
                break
            action = policy.act(_seen(view))
            view = engine.step(action)
            writer.add(fit(view.frame), action, view.pose)
    return writer.episode


def _seen(view: View) -> dict[str, np.ndarray]:
    return {} if view.pose is None else {"pose": view.pose}
