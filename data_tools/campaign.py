"""The campaign manifest of a folder of recordings: who recorded what, when, where and with which versions."""

import getpass
import platform
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

import mstv
from mstv.data.schema import CAMPAIGN, ActionSpec, Record

_PACKAGES = ("av", "numpy", "gymnasium")


class Session(BaseModel):
    """One call of `mstv-data record`.

    A session that was killed stays `running`, with what it had counted until then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    host: str
    command: str = Field(description="the command line, to be run again")
    started: datetime = Field(description="UTC")
    ended: datetime | None = None
    outcome: Literal["running", "finished", "interrupted", "failed"] = "running"
    error: str | None = Field(default=None, description="what it failed of")
    workers: int
    cluster: str | None = None
    versions: dict[str, str]
    recorded: int = Field(default=0, description="episodes completed")
    engine_failures: tuple[str, ...] = Field(default=(), description="what engines died of, before they were restarted")


class Campaign(Record):
    """`recording.campaign.json` in a folder of raw episodes."""

    engine: str
    policy: str
    seed: int
    num_episodes: int = Field(description="episodes asked for last")
    num_frames: int
    size: tuple[int, int] = Field(description="(H, W) in pixels")
    fps: float
    num_worlds: int | None
    actions: ActionSpec
    sessions: tuple[Session, ...] = ()

    def of_last(self, **changes: object) -> "Campaign":
        """The same with changes to its last session."""
        last = self.sessions[-1].model_copy(update=changes)
        return self.model_copy(update={"sessions": (*self.sessions[:-1], last)})


def earlier_sessions(folder: Path) -> tuple[Session, ...]:
    """Sessions that recorded into `folder` before.

    Raises:
        UserError: the campaign manifest is damaged.
    """
    path = folder / CAMPAIGN
    return Campaign.read(path).sessions if path.is_file() else ()


def new_session(command: str, workers: int, cluster: str | None, engine_versions: Mapping[str, str]) -> Session:
    """A session that begins now."""
    user = "unknown"
    with suppress(KeyError, OSError):  # a container may run as a number without a name
        user = getpass.getuser()
    versions = {"mstv": mstv.__version__, "python": platform.python_version(), "system": platform.platform()}
    versions.update({package: version(package) for package in _PACKAGES})
    return Session(
        user=user,
        host=socket.gethostname(),
        command=command,
        started=now(),
        workers=workers,
        cluster=cluster,
        versions={**versions, **engine_versions},
    )


def now() -> datetime:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)
