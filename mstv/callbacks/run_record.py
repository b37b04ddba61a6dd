"""What a run is: written to its folder, and to the run of W&B or trackio, if it has one."""

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning import Callback, LightningModule, Trainer
from torch import nn

import mstv
from mstv.callbacks.git_state import git_state
from mstv.callbacks.media import loggers_of
from mstv.callbacks.metrics_csv import MetricsCSV
from mstv.callbacks.throughput import Throughput
from mstv.data.results import CONFIG, RECORD
from mstv.data.results.training import DataNote, Start, TrainingRecord
from mstv.data.schema import Manifest, atomic_path
from mstv.rollout.draw import draw_plans
from mstv.tracking.training_note import training_note

PLAN = "plan.png"
PACKAGES = ("mstv", "torch", "lightning", "torchmetrics", "wandb", "numpy")


class RunRecord(Callback):
    """Writes `config.yaml` and `run.json` at every start of a run, `plan.png` at the first; dashboards get them, too.

    It does so when training begins: a start that is refused, by what it resumes from, leaves them as they are.

    It also tells `metrics.csv` where a resumed run goes on.

    Args:
        folder: the run directory.
        config: the whole configuration as YAML.
        throughput: knows the peak of the device.
    """

    def __init__(self, folder: Path, config: str, throughput: Throughput) -> None:
        self._folder = folder
        self._config = config
        self._throughput = throughput
        self.has_begun = False
        """Whether there was anything to train."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Count the parameters, before a strategy deals them out."""
        self._parameters = count_parameters(pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, on the first rank."""
        self.has_begun = True
        if not trainer.is_global_zero:
            return
        record = self._record(trainer, pl_module)
        record.write(self._folder / RECORD)
        with atomic_path(self._folder / CONFIG) as temporary:
            temporary.write_text(self._config, encoding="utf-8")
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.begin(trainer.global_step)
        for logger in loggers_of(trainer):
            logger.log_hyperparams(yaml.safe_load(self._config))
            logger.log_hyperparams(training_note(record))
        picture = self._folder / PLAN
        if hasattr(pl_module, "family") and not (trainer.global_step and picture.exists()):
            self._draw(trainer, pl_module, picture)

    def _record(self, trainer: Trainer, module: Any) -> TrainingRecord:
        path = self._folder / RECORD
        before = TrainingRecord.read(path).starts if path.exists() else ()
        manifest: Manifest = trainer.datamodule.manifest  # type: ignore[attr-defined]
        peak = self._throughput.peak
        assert peak is not None, "it is set up"
        start = Start(
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            step=trainer.global_step,
            git=git_state(Path(mstv.__file__)),
            versions=versions(),
            ranks=trainer.world_size,
            device=peak.device,
            precision=str(trainer.precision),
            peak=str(peak),
            data=DataNote(
                manifest_sha256=manifest.sha256, source_sha256=manifest.source_sha256, tokenizer=manifest.tokenizer
            ),
        )
        return TrainingRecord(kind=module.kind, parameters=self._parameters, starts=(*before, start))

    def _draw(self, trainer: Trainer, module: Any, path: Path) -> None:
        plan = module.family.merged_plan(module.levels.num_tokens(0))
        with atomic_path(path) as temporary:
            draw_plans([(type(module.family).__name__, plan)], temporary)
        for logger in loggers_of(trainer):
            logger.log_image("plan", [str(path)], step=trainer.global_step)


def versions() -> dict[str, str]:
    """Versions of what runs."""
    cuda = {"cuda": torch.version.cuda} if torch.version.cuda else {}
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}, **cuda}


def count_parameters(module: nn.Module) -> dict[str, int]:
    """`total` and the numbers of the parts, by name; parts that hold all there is are looked into."""
    total = sum(parameter.numel() for parameter in module.parameters())
    parts, prefix = dict(module.named_children()), ""
    while len(parts) == 1:
        ((name, only),) = parts.items()
        parts, prefix = dict(only.named_children()), f"{prefix}{name}."
    counts = {prefix + name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    return {"total": total, **{name: count for name, count in counts.items() if count}}
