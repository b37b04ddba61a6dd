"""The optimiser that both LightningModules use."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mstv.errors import UserError
from mstv.muon import MuonAdamW, MuonScale

BETAS = (0.9, 0.95)


@dataclass(frozen=True)
class Optimiser:
    """Muon and AdamW, or AdamW alone; linear warm-up, then constant or, given `decay_steps`, falling to zero.

    The defaults are the published recipe: Muon for the weights of all linear layers, those of input and output
    included, AdamW for the rest, one learning rate for both. Embeddings, tables and not maps, are of the rest.

    Args:
        kind: `muon_adamw`, or `adamw` for all parameters.
        learning_rate: peak learning rate.
        weight_decay: decoupled weight decay of matrices; vectors (biases, norms) have none.
        warmup_steps: steps of linear warm-up.
        decay_steps: step at which the learning rate reaches zero; None keeps the peak.
        decay_start: step at which it begins to fall; None is the end of the warm-up. With `linear`, a late start is the
            warm-up-stable-decay schedule.
        decay_shape: `cosine` or `linear`.
        muon_scale: size of Muon's updates, see `MuonAdamW`; `original` wants a larger learning rate.
        max_skipped_steps: steps in a row without a finite gradient after which the training stops.

    Raises:
        UserError: a number out of its range, or settings that contradict each other.
    """

    kind: Literal["muon_adamw", "adamw"] = "muon_adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 2000
    decay_steps: int | None = None
    decay_start: int | None = None
    decay_shape: Literal["cosine", "linear"] = "cosine"
    muon_scale: MuonScale = "match_rms"
    max_skipped_steps: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"optimiser: learning_rate must be positive, got {self.learning_rate}")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"optimiser: weight_decay must not be negative, got {self.weight_decay}")
        if self.warmup_steps < 0:
            raise UserError(f"optimiser: warmup_steps must not be negative, got {self.warmup_steps}")
        if self.max_skipped_steps < 1:
            raise UserError(f"optimiser: max_skipped_steps must be positive, got {self.max_skipped_steps}")
        if self.decay_steps is None:
            if self.decay_start is not None:
                raise UserError(
                    f"optimiser: decay_start is {self.decay_start}, but decay_steps is not given: give both"
                )
            return
        if self._decay_start < self.warmup_steps:
            raise UserError(
                f"optimiser: decay_start is {self.decay_start}, in the {self.warmup_steps} warmup_steps: begin later"
            )
        if self.decay_steps <= self._decay_start:
            raise UserError(
                f"optimiser: decay_steps is {self.decay_steps}, but the decay begins at step {self._decay_start}: "
                "decay_steps is the step at which it ends"
            )

    @property
    def _decay_start(self) -> int:
        return self.warmup_steps if self.decay_start is None else self.decay_start

    def factor(self, step: int) -> float:
        """Learning rate at `step`, counted from 0, over its peak."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.decay_steps is None:
            return 1.0
        progress = (step - self._decay_start) / (self.decay_steps - self._decay_start)
        progress = min(max(progress, 0.0), 1.0)
        return 1 - progress if self.decay_shape == "linear" else 0.5 * (1 + math.cos(math.pi * progress))

    def build(self, module: nn.Module) -> tuple[Optimizer, LambdaLR]:
        """Optimiser of all trained parameters, and learning-rate schedule, to be stepped once a training step."""
        optimiser = self._muon_adamw(module) if self.kind == "muon_adamw" else self._adamw(list(module.parameters()))
        # A plain function: the schedule's state then holds no object, and the checkpoint stays weights_only.
        return optimiser, LambdaLR(optimiser, lambda step: self.factor(step))

    def impose(self, optimiser: Optimizer, schedule: LambdaLR) -> None:
        """Make an optimiser whose state was loaded follow these settings, not those that it was saved with."""
        schedule.base_lrs = [self.learning_rate for _ in optimiser.param_groups]
        for group in optimiser.param_groups:
            group["initial_lr"] = self.learning_rate
            group["lr"] = self.learning_rate * self.factor(schedule.last_epoch)
            group["weight_decay"] = self.weight_decay if group["params"][0].ndim > 1 else 0.0
            if "scale" in group:
                group["scale"] = self.muon_scale

    def check_kind(self, state: dict[str, Any], path: Path) -> None:
        """Refuse the loaded state of an optimiser of the other kind.

        Raises:
            UserError: it is.
        """
        found = "muon_adamw" if any("algorithm" in group for group in state["param_groups"]) else "adamw"
        if found != self.kind:
            raise UserError(
                f"{path}: field kind of the optimiser is {found}, this training has {self.kind}: "
                f"set model.init_args.optimiser.kind to {found} or train in another run directory"
            )

    def _muon_adamw(self, module: nn.Module) -> MuonAdamW:
        # By identity, in order and once each: layers may share a weight.
        linear = {id(part.weight): part.weight for part in module.modules() if isinstance(part, nn.Linear)}
        weights = [weight for weight in linear.values() if weight.requires_grad]
        groups: list[dict[str, Any]] = [{"params": weights, "algorithm": "muon"}] if weights else []
        rest = self._groups([parameter for parameter in module.parameters() if id(parameter) not in linear])
        groups += [{**group, "algorithm": "adamw"} for group in rest]
        return MuonAdamW(groups, self.learning_rate, self.weight_decay, scale=self.muon_scale, betas=BETAS)

    def _adamw(self, parameters: list[Parameter]) -> AdamW:
        return AdamW(self._groups(parameters), lr=self.learning_rate, betas=BETAS)

    def _groups(self, parameters: list[Parameter]) -> list[dict[str, Any]]:
        """Those that decay and those that do not, without empty groups."""
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]
