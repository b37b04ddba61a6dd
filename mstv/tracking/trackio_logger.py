"""Lightning's loggers have none for trackio, a local dashboard that takes the calls of W&B."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mstv.errors import UserError

MISSING = "trackio is not installed: pip install 'mstv[trackio]'"


class TrackioLogger(Logger):
    """Logs to a run of trackio; a resumed run goes on. `trackio show --project mstv` opens the dashboard.

    Pictures, videos and tables are logged by the methods that Lightning's WandbLogger has.

    Args:
        project: name in trackio.
        run: name of the run there; None takes the name of the run directory.

    Raises:
        UserError: trackio is not installed.
    """

    def __init__(self, project: str = "mstv", run: str | None = None) -> None:
        super().__init__()
        try:
            import trackio
        except ImportError:
            raise UserError(MISSING) from None
        self._trackio = trackio
        self._project = project
        self.run = run
        self._open: Any = None

    @property
    def name(self) -> str:
        """The project, as Lightning's WandbLogger has it."""
        return self._project

    @property
    def version(self) -> str | None:
        """The run."""
        return self.run

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of trackio, which is begun or gone on with when it is first asked for."""
        if self._open is None:
            self._open = self._trackio.init(
                project=self._project,
                name=self.run,
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        return self._open

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Add to the configuration; trackio takes it with the first metrics of a process, and forgets earlier ones."""
        self.experiment.config.update(vars(params) if isinstance(params, Namespace) else params)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Numbers at a step."""
        self.experiment.log(metrics, step=step)

    @rank_zero_only
    def log_image(self, key: str, images: Sequence[str], step: int | None = None) -> None:
        """Pictures, from files."""
        for path in images:
            self.experiment.log({key: self._trackio.Image(Path(path))}, step=step)

    @rank_zero_only
    def log_video(self, key: str, videos: Sequence[str], step: int | None = None, **kwargs: Any) -> None:
        """Videos, from mp4 files."""
        for path in videos:
            self.experiment.log({key: self._trackio.Video(Path(path))}, step=step)

    @rank_zero_only
    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int | None = None) -> None:
        """A table."""
        self.experiment.log({key: self._trackio.Table(columns=columns, data=data)}, step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is pending."""
        if self._open is not None:
            self._open.finish()
            self._open = None
