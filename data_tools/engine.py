"""The engines that can record, by name."""

from dataclasses import dataclass

from mstv.data.schema import safe_key
from mstv.errors import UserError


@dataclass(frozen=True)
class Engine:
    """How an engine is reached; each runs in a process of its own, see `data_tools.engine_process`.

    Attributes:
        name: as given on the command line.
        adapter: which of `data_tools.engines.serving` speaks with it.
        env_id: its id there.
        imports: modules to import first, so that the id is registered.
        own_python: whether it wants an interpreter of its own, given by `--engine-python`.
        advice: what to do where it cannot be imported.
        start_seconds: how long starting it or a new episode may take before it counts as hanging.
    """

    name: str
    adapter: str
    env_id: str
    imports: tuple[str, ...] = ()
    own_python: bool = False
    advice: str = "run `mstv-data doctor`"
    start_seconds: float = 300.0

    @property
    def key(self) -> str:
        """The name as part of an episode's key."""
        return safe_key(self.name)


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is asked for.

    Attributes:
        engine: which one.
        size: (H, W) of the frames in pixels.
        action_mode: "discrete" or "vector", for engines that have both.
        python: interpreter that runs it; None takes this one.
        step_seconds: how long a step may take before the engine counts as hanging.
        options: further arguments of a Gymnasium environment's constructor.
    """

    engine: Engine
    size: tuple[int, int]
    action_mode: str = "discrete"
    python: str | None = None
    step_seconds: float = 60.0
    options: tuple[tuple[str, str | int | float | bool], ...] = ()


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("blockworld", "gymnasium", "mstv/BlockWorld-v0", ("data_tools.engines.blockworld",)),
        Engine("luanti", "gymnasium", "mstv/Luanti-v0", ("data_tools.engines.luanti",)),
        Engine(
            "minerl",
            "minerl",
            "MineRLNavigate-v0",
            own_python=True,
            advice="see docs/engines.md; `make minerl-env` makes its environment",
        ),
        Engine(
            "craftground",
            "craftground",
            "craftground",
            own_python=True,
            advice="see docs/engines.md; `make craftground-env` makes its environment",
        ),
    )
}
GYM = "gym:"
"""Prefix of an engine's name that is followed by any Gymnasium id."""


def find_engine(name: str) -> Engine:
    """The engine of a name.

    Raises:
        UserError: no engine has that name.
    """
    if name in ENGINES:
        return ENGINES[name]
    if name.startswith(GYM) and len(name) > len(GYM):
        return Engine(
            name,
            "gymnasium",
            name.removeprefix(GYM),
            advice="install the package that registers it, or put your module on PYTHONPATH",
        )
    raise UserError(f"engine {name!r}: choose from {', '.join(ENGINES)}, or {GYM}ID with any Gymnasium id")
