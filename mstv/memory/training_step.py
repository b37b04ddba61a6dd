"""Memory of one training step: a forward and a backward pass of the real loss on tensors without values."""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningModule
from lightning.fabric.utilities.device_dtype_mixin import _update_properties
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mstv.errors import UserError
from mstv.memory.live_bytes import LiveBytes

AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
TRUE = {"32-true": torch.float32, "bf16-true": torch.bfloat16, "16-true": torch.float16}


@dataclass(frozen=True)
class Precision:
    """One of Lightning's precisions.

    Attributes:
        name: as Lightning spells it.
        weights: dtype of parameters, gradients and optimiser states.
        autocast: dtype of matrix products under autocast; None without it.
    """

    name: str
    weights: torch.dtype
    autocast: torch.dtype | None

    @staticmethod
    def of(name: str | int | None) -> "Precision":
        """The precision that Lightning calls `name`.

        Raises:
            UserError: one that cannot be reckoned with.
        """
        known = {
            None: "32-true",
            32: "32-true",
            "32": "32-true",
            "bf16": "bf16-mixed",
            "16": "16-mixed",
            16: "16-mixed",
        }
        name = str(known.get(name, name))
        if name not in (*AUTOCAST, *TRUE):
            raise UserError(f"trainer.precision is {name}, expected one of {', '.join((*AUTOCAST, *TRUE))}")
        return Precision(name, TRUE.get(name, torch.float32), AUTOCAST.get(name))

    def autocasting(self) -> contextlib.AbstractContextManager[Any]:
        """Autocast as the trainer applies it."""
        return torch.autocast("cpu", self.autocast) if self.autocast else contextlib.nullcontext()


@dataclass(frozen=True)
class StepMemory:
    """Bytes that one training step takes beside its weights and its batch.

    Attributes:
        saved: kept at the end of the forward pass for the backward pass.
        peak: the most alive at once, gradients as they come included.
        gradients: of all parameters.
    """

    saved: int
    peak: int
    gradients: int

    @staticmethod
    def of(module: LightningModule, batch: Any, precision: Precision, accumulates: bool = False) -> "StepMemory":
        """Take a training step and count.

        Args:
            module: with real parameters, which then hold gradients, or inside `without_values`.
            batch: a dataclass that its `training_step` takes.
            precision: of the training.
            accumulates: whether gradients of an earlier batch are there already.
        """
        live = LiveBytes()
        parameters = list(module.parameters())
        for tensor in (*parameters, *module.buffers(), *tensors_of(batch).values()):
            live.hold(tensor)
        before = live.live
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if accumulates and parameter.requires_grad else None
            if parameter.grad is not None:
                live.hold(parameter.grad)
        with live:
            with precision.autocasting():
                outputs: Any = module.training_step(batch, 0)
            saved = live.live - before
            outputs["loss"].backward()
        gradients = sum(parameter.grad.nbytes for parameter in parameters if parameter.grad is not None)
        return StepMemory(saved, live.peak - before, gradients)


def tensors_of(batch: Any) -> dict[str, Tensor]:
    """The tensors of a batch by field."""
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


@contextmanager
def without_values() -> Iterator[None]:
    """Inside, operations make tensors without values, which take no time and no memory."""
    with warnings.catch_warnings():
        # Of RMSNorm in mixed precision on a CPU.
        warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
        # What was made before, such as layouts of plan steps, is used as it is.
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield


def give_sizes(module: nn.Module, dtype: torch.dtype) -> None:
    """Inside `without_values`, make a module of the meta device one whose tensors have sizes and no values."""
    module._apply(
        lambda tensor: torch.empty_like(tensor, device="cpu", dtype=dtype if tensor.is_floating_point() else None)
    )
    # A LightningModule notes where it is, and `to` cannot move what has no values.
    _update_properties(module, device=torch.device("cpu"))
