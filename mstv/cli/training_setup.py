"""A training as its configuration describes it, built without values: the module, and batches of its sizes."""

from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning import LightningModule

from mstv.cli.fit import FitCLI, brief, user_error_behind
from mstv.data.conditions import NUM_POSE_FEATURES, Conditions
from mstv.data.frames import FrameBatch
from mstv.data.latent_shards import LatentStore
from mstv.data.latents import StepBatch
from mstv.data.schema import MANIFEST
from mstv.diffusion.module import DiffusionModule
from mstv.errors import UserError
from mstv.memory.training_step import Precision
from mstv.rollout.layout import StepLayout
from mstv.tokenizer.lpips_shape import LpipsShape
from mstv.tokenizer.module import TokenizerModule
from mstv.tokenizer.perceptual import PerceptualLoss
from mstv.trained_module import TrainedModule

Batch = FrameBatch | StepBatch
CHANNELS, ACTIONS = 32, 3
"""What the published set has, for a training whose latents are not there yet."""


class _ParsedFit(FitCLI):
    """`mstv fit`, its configuration parsed and nothing built."""

    def instantiate_classes(self) -> None:
        """Build nothing."""


class _Lpips(PerceptualLoss):
    """LPIPS where tensors have no values."""

    def to(self, *args: Any, **kwargs: Any) -> "_Lpips":
        """Stay: what has no values cannot be moved."""
        return self


@dataclass(frozen=True)
class TrainingSetup:
    """A training on so many GPUs.

    Attributes:
        config: what `mstv fit` parsed.
        num_gpus: of all nodes.
        latent_channels: C of a diffusion training's latents.
        num_actions: ids of its actions, 0 for none.
    """

    config: Namespace
    num_gpus: int
    latent_channels: int = CHANNELS
    num_actions: int = ACTIONS

    @staticmethod
    def read(arguments: Sequence[str], num_gpus: int | None = None, **latents: int) -> "TrainingSetup":
        """Parse the options of `mstv fit`.

        Args:
            arguments: the options; `--run` may be left out.
            num_gpus: instead of the trainer's devices and nodes.
            latents: `latent_channels` and `num_actions`, for latents that are not there yet.

        Raises:
            UserError: a configuration that does not parse.
        """
        try:
            config = _ParsedFit(["--run", "run", *arguments]).config
        except ArgumentError as error:
            raise user_error_behind(error) or UserError(brief(str(error), arguments)) from None
        if "model" not in config or "data" not in config:
            raise UserError("configuration: holds no model and data: give -c experiments/X.yaml")
        return TrainingSetup(config, num_gpus or _num_devices(config.trainer), **latents)

    @property
    def batch_size(self) -> int:
        """Samples of a batch of one GPU."""
        return self._data.batch_size

    @property
    def accumulated(self) -> int:
        """Batches of one GPU in an optimiser's step."""
        return self.config.trainer.accumulate_grad_batches or 1

    @property
    def max_steps(self) -> int:
        """Steps of the optimiser; -1 if the configuration does not say."""
        return self.config.trainer.max_steps

    @property
    def precision(self) -> Precision:
        """Of the training."""
        return Precision.of(self.config.trainer.precision)

    @property
    def strategy(self) -> str:
        """`single`, or `ddp` on several GPUs.

        Raises:
            UserError: another one.
        """
        strategy = self.config.trainer.strategy
        name = strategy if isinstance(strategy, str) else str(strategy.class_path)
        if name != "auto" and "ddp" not in name.lower():
            raise UserError(f"trainer.strategy is {name}: plan-training knows auto and ddp")
        return "single" if self.num_gpus == 1 else "ddp"

    @property
    def averages(self) -> bool:
        """Whether averaged weights are kept."""
        callbacks = self.config.trainer.callbacks or []
        return any(callback.class_path.endswith(".EMA") for callback in callbacks)

    @property
    def compiled(self) -> bool:
        """Whether blocks are compiled."""
        return bool(self.config.compile)

    @property
    def checkpoints_activations(self) -> bool:
        """Whether blocks are computed again in the backward pass."""
        return bool(self._model.get("activation_checkpointing"))

    def changed(
        self,
        batch_size: int | None = None,
        accumulated: int | None = None,
        checkpoints_activations: bool | None = None,
    ) -> "TrainingSetup":
        """The same training with other settings; None leaves one as it is."""
        config = self.config.clone()
        for part, name, value in (
            (config.data.init_args, "batch_size", batch_size),
            (config.trainer, "accumulate_grad_batches", accumulated),
            (config.model.init_args, "activation_checkpointing", checkpoints_activations),
        ):
            if value is not None:
                part[name] = value
        return replace(self, config=config)

    def module(self) -> TrainedModule:
        """The module on the meta device.

        Raises:
            UserError: parts that do not fit each other.
        """
        config = self.config.model.clone()
        arguments = config.init_args
        lpips_weight = arguments.get("lpips_weight", 0.0)
        if lpips_weight:
            arguments.lpips_weight = 0.0  # its weights are public, and not needed here
        if "latent_channels" in arguments and arguments.latent_channels is None:
            arguments.latent_channels, arguments.action_kind, arguments.num_actions = self._latents
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(LightningModule, "model")
        try:
            with torch.device("meta"):
                module = parser.instantiate_classes(Namespace(model=config)).model
                if lpips_weight:
                    module.lpips_weight, module._perceptual = lpips_weight, [_Lpips(LpipsShape())]
        except ValueError as error:
            raise user_error_behind(error) or error from None
        if not isinstance(module, TokenizerModule | DiffusionModule):
            raise UserError(f"model is {config.class_path}: plan-training knows TokenizerModule and DiffusionModule")
        return module

    def steps(self, module: TrainedModule) -> dict[int, float]:
        """Plan steps that a batch may be of, with their probabilities; a tokenizer's batches are all alike."""
        return dict(enumerate(module.plan.step_probability)) if isinstance(module, DiffusionModule) else {0: 1.0}

    def heaviest_steps(self, module: TrainedModule) -> list[int]:
        """One of the plan steps takes the most memory: those that no other one exceeds in everything that counts."""
        if not isinstance(module, DiffusionModule):
            return [0]
        sizes: dict[tuple[int, ...], int] = {}
        for index, (step, cells) in enumerate(zip(module.training_steps, module.plan.steps, strict=True)):
            # Cells of several levels have no common number of tokens, and are spread over them by an index.
            mixed = [len({cell.level for cell in part}) > 1 for part in (cells.context, cells.targets)]
            tokens = (step.context_tokens, step.context_conditions, step.target_tokens, step.target_conditions)
            sizes.setdefault((*tokens, *mixed), index)
        return [
            index
            for size, index in sizes.items()
            if not any(other != size and all(map(int.__ge__, other, size)) for other in sizes)
        ]

    def batch(self, module: TrainedModule, step: int, batch_size: int) -> Batch:
        """A batch of one GPU, zeros all over, or nothing where tensors have no values."""
        dtype = self.precision.weights
        if isinstance(module, TokenizerModule):
            return FrameBatch(torch.zeros(batch_size, 3, *module.tokenizer.levels.image_size, dtype=dtype), 0)
        assert isinstance(module, DiffusionModule)
        config, chosen = module.config, module.plan.steps[step]
        num_tokens = chosen.num_tokens(module.plan.base_num_tokens)
        tokens = torch.zeros(batch_size, num_tokens, config["latent_channels"], dtype=dtype)
        actions = None
        if config["action_kind"] == "discrete":
            actions = torch.zeros(batch_size, len(chosen.frames), dtype=torch.int64)
        elif config["action_kind"] == "vector":
            actions = torch.zeros(batch_size, len(chosen.frames), config["num_actions"])
        return StepBatch(step, tokens, actions, 0, ("episode",) * batch_size, (0,) * batch_size)

    def lay_out(self, module: TrainedModule, step: int) -> None:
        """Make the layout of a plan step, which is kept: where tensors have no values it could not be made."""
        if isinstance(module, DiffusionModule):
            layout = StepLayout.of(module.plan.steps[step], module.levels, torch.device("cpu"))
            for each in (layout, module.denoiser.token_layout(layout)):
                for name, value in vars(StepLayout).items():
                    if isinstance(value, cached_property):
                        getattr(each, name)

    @property
    def _model(self) -> Namespace:
        return self.config.model.init_args

    @property
    def _data(self) -> Namespace:
        return self.config.data.init_args

    @property
    def _latents(self) -> tuple[int, str, int]:
        """Channels, and kind and number of conditions, of the latents: those of the set if it is there."""
        folder = Path(str(self._data.folder))
        if (folder / MANIFEST).is_file():
            store = LatentStore(folder)
            conditions = Conditions(store, self._data.conditions)
            return store.channels, conditions.action_kind, conditions.size
        if self._data.conditions == "poses":
            return self.latent_channels, "vector", NUM_POSE_FEATURES
        return self.latent_channels, "discrete" if self.num_actions else "none", self.num_actions


def _num_devices(trainer: Namespace) -> int:
    """Devices of all nodes; `auto` counts as one."""
    devices = trainer.devices
    if isinstance(devices, str):
        devices = len(devices.split(",")) if "," in devices else int(devices) if devices.isdigit() else 1
    count = len(devices) if isinstance(devices, list) else max(devices, 1)
    return count * trainer.num_nodes
