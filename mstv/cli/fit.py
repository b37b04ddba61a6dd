"""`mstv fit`: training from one YAML."""

import logging
import re
import shutil
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import wandb
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers.logger import Logger

# Importing the parts makes their class paths known to the parser.
import mstv.callbacks.long_rollout
import mstv.data.clips
import mstv.data.frames
import mstv.data.latents
import mstv.diffusion.module
import mstv.inverse_dynamics.module
import mstv.rollout.families
import mstv.tokenizer.module  # noqa: F401
from mstv.callbacks.metrics_csv import MetricsCSV
from mstv.callbacks.preemption import Preempted, Preemption, requeue
from mstv.callbacks.rolling_checkpoint import RollingCheckpoint
from mstv.callbacks.run_record import RunRecord
from mstv.callbacks.step_progress import StepProgress
from mstv.callbacks.throughput import Throughput
from mstv.callbacks.training_log import TrainingLog
from mstv.cli.checkpoints import resolve_checkpoint
from mstv.cli.full_sharding import FullSharding, check_can_shard
from mstv.cli.training_start import checkpoint_to_resume, load_weights_of
from mstv.data.results import CHECKPOINTS
from mstv.data.write_locks import held
from mstv.errors import UserError
from mstv.levels import Levels
from mstv.rollout.plan import PlanFamily
from mstv.termination import Terminated
from mstv.tracking.checkpoint_artifact import log_checkpoints
from mstv.tracking.trackio_logger import TrackioLogger
from mstv.tracking.wandb_run import wandb_logger


class FitCLI(LightningCLI):
    """One YAML for tokenizer or diffusion: `levels` and `plan` are given once and linked to model and data."""

    def __init__(self, args: ArgsType) -> None:
        super().__init__(
            model_class=LightningModule,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,  # it would write before a resume is refused; see RunRecord
            auto_configure_optimizers=False,  # `model.optimiser` is the one way
            seed_everything_default=0,
            parser_kwargs={"exit_on_error": False, "prog": "mstv fit", "allow_abbrev": False},
            run=False,
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Our arguments and links."""
        parser.add_argument("--run", type=str, required=True, help="the run directory; an existing run is resumed")
        parser.add_argument(
            "--checkpoint_seconds", type=float, default=600.0, help="seconds between two checkpoints of last.ckpt"
        )
        parser.add_argument(
            "--num_older_checkpoints", type=int, default=2, help="checkpoints kept besides last.ckpt and best.ckpt"
        )
        parser.add_argument(
            "--weights", type=str | None, help="checkpoint or run directory whose weights a new run begins with"
        )
        parser.add_argument("--compile", type=bool, default=False, help="compile the blocks of the transformer")
        parser.add_argument("--wandb", type=bool, default=True, help="log to Weights & Biases")
        parser.add_argument("--wandb_project", type=str, default="mstv")
        parser.add_argument(
            "--wandb_offline", type=bool, default=True, help="log into the run directory; `wandb sync` uploads it"
        )
        parser.add_argument(
            "--wandb_checkpoints",
            type=bool,
            default=False,
            help="log the last and the best checkpoint to W&B at the end",
        )
        parser.add_argument("--levels", type=Levels, help="the token pyramid, for model and data")
        parser.add_argument("--plan", type=PlanFamily | None, help="the plan, for model and data")
        for part in ("model", "data"):
            parser.link_arguments("levels", f"{part}.init_args.levels")
            parser.link_arguments("plan", f"{part}.init_args.plan")
        # What the data knows need not be said again.
        of_latents = ("latent_channels", "action_kind", "num_actions", "conditions")
        for name in (*of_latents, "action_names", "action_units", "action_scale", "clip_frames"):
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
        parser.link_arguments("run", "trainer.default_root_dir")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer with the run directory's loggers and rolling checkpoint."""
        run = Path(self.config.run)
        kwargs["logger"] = [MetricsCSV(run), *self._dashboards(run)]
        # Lightning's own checkpoint callback is off: it is not atomic, and would write beside ours.
        shards = self.config.trainer.strategy == "fsdp"
        if shards:
            kwargs["strategy"] = FullSharding()
        trainer = super().instantiate_trainer(enable_checkpointing=False, enable_progress_bar=False, **kwargs)
        if shards:
            check_can_shard(trainer.callbacks, self.config.compile)  # type: ignore[attr-defined]
        preemption = Preemption()
        preemption.attach(trainer)
        older = self.config.num_older_checkpoints
        if older < 0:
            raise UserError(f"num_older_checkpoints must not be negative, got {older}")
        log, throughput = TrainingLog(), Throughput()
        self.record = RunRecord(run, self.parser.dump(self.config, skip_none=False), throughput)
        trainer.callbacks += [  # type: ignore[attr-defined]
            self.record,
            log,
            throughput,
            StepProgress(log, throughput),
            RollingCheckpoint(run / CHECKPOINTS, self.config.checkpoint_seconds, older, preemption),
        ]
        return trainer

    def _dashboards(self, run: Path) -> list[Logger]:
        """W&B, or the loggers that are given instead; none of them replaces metrics.csv."""
        given = self.config_init.trainer.logger
        uses_wandb = given in (None, True) and self.config.wandb
        if self.config.wandb_checkpoints and not uses_wandb:
            raise UserError(
                "wandb_checkpoints wants W&B: leave it out, or leave out --wandb false and --trainer.logger"
            )
        if uses_wandb:
            return [wandb_logger(run, self.config.wandb_project, self.config.wandb_offline)]
        loggers = list(given) if isinstance(given, list | tuple) else [given] if isinstance(given, Logger) else []
        for logger in loggers:
            if isinstance(logger, TrackioLogger):
                logger.run = logger.run or run.resolve().name
        return loggers


def fit(arguments: Sequence[str]) -> None:
    """Parse, then train or go on training.

    Raises:
        UserError: a configuration that does not parse or build, data that do not fit, a run directory that cannot be
            written or that another process writes, a damaged checkpoint, weights of another architecture.
        Terminated: a signal asked to stop, and the training has saved.
    """
    try:
        cli = FitCLI(list(arguments))
    except ArgumentError as error:
        raise user_error_behind(error) or UserError(brief(str(error), arguments)) from None
    except ValueError as error:
        # jsonargparse wraps what a constructor raises.
        raise user_error_behind(error) or error from None
    run = Path(cli.config.run)
    is_new = not run.exists()
    # Of several ranks the first one stands for all.
    alone = held(run, "give another run directory with --run") if cli.trainer.is_global_zero else nullcontext()
    with alone:
        try:
            _fit(cli, run)
        except UserError:
            # What a new run that never began holds (dashboards' first files) would look like one that went wrong.
            if is_new and not cli.record.has_begun and cli.trainer.is_global_zero:
                shutil.rmtree(run, ignore_errors=True)
            raise


def _fit(cli: FitCLI, run: Path) -> None:
    """`fit`, parsed, in a run directory that no other job writes."""
    folder = run / CHECKPOINTS
    resume = checkpoint_to_resume(folder)
    # A run that goes on has weights of its own, so that the same command can be repeated.
    if cli.config.weights and resume is None:
        load_weights_of(resolve_checkpoint(Path(cli.config.weights)), cli.model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--run {run}: cannot be written ({error.strerror}): choose another folder") from None
    if cli.config.compile:
        cli.model.compile_blocks()
    train(cli, resume)


def train(cli: FitCLI, resume: Path | None) -> None:
    """Run the trainer, from a checkpoint if there is one; see `fit` for the errors."""
    try:
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=resume, weights_only=True)
    except Preempted as stop:
        if not (stop.requeue and requeue(cli.trainer.is_global_zero)):
            raise Terminated from None
        print(f"mstv: saved at step {cli.trainer.global_step}; the job is queued again", file=sys.stderr)
    except SystemExit:
        # How Lightning ends after Ctrl-C.
        if cli.trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    else:
        if not cli.record.has_begun and cli.trainer.is_global_zero:
            reached = f"{cli.config.run} is at step {cli.trainer.global_step} of {cli.trainer.max_steps}"
            print(f"mstv: nothing to do: {reached}; raise --trainer.max_steps to go on", file=sys.stderr)
        elif cli.config.wandb_checkpoints and cli.trainer.is_global_zero:
            log_checkpoints(Path(cli.config.run) / CHECKPOINTS, cli.trainer.global_step)
    finally:
        # Ends the service process that an open run keeps.
        wandb.finish()


def brief(message: str, arguments: Sequence[str]) -> str:
    """jsonargparse's message without what it says of types and values that the user did not write."""
    line = " ".join(message.split())
    if line.startswith('Parser key "run"'):
        return "--run is missing: give the run directory, a new one or one to go on with"
    if line.startswith("unrecognized arguments"):
        return f"{line}: see mstv fit --help"
    line = re.sub(r"Does not validate against any of the Union subtypes Subtypes: .*? Errors: - ", "", line)
    line = re.split(r" - Expected a <class 'NoneType'>| Given value", line)[0]
    files = [value for flag, value in pairwise(arguments) if flag in ("-c", "--config")]
    return (
        f"configuration {', '.join(files)}: {line}" if files else f"configuration: {line}: give -c experiments/X.yaml"
    )


def user_error_behind(error: BaseException) -> UserError | None:
    """The UserError that `error` was raised because of, if there is one."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, UserError):
        behind = behind.__cause__ or behind.__context__
    return behind


def run(arguments: Sequence[str]) -> int:
    """The command."""
    quiet_lightning()
    torch.set_float32_matmul_precision("high")
    fit(arguments)
    return 0


def quiet_lightning() -> None:
    """Silence what Lightning says that a user of this command can do nothing about."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    for message in (
        r".*does not have many workers.*",
        r".*Checkpoint directory .* exists and is not empty.*",
        r".*The number of training batches.*",
        r".*LightningCLI's args parameter.*",
        r".*LeafSpec.*is deprecated.*",
        # What blocks give is never changed in place while gradients are kept.
        r".*FSDP2-wrapped module .* returned a view tensor.*",
        r".*functional.all_gather is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message)
