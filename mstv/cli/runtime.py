"""Device and precision of the commands that run a model without training it."""

import argparse
import contextlib
import os
import re
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import nn

from mstv.device_peak import device_name
from mstv.errors import UserError

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Runtime:
    """Where and how a model runs."""

    device: torch.device
    bf16: bool

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """bf16 autocast if asked for, else nothing."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    def place(self, module: Module) -> Module:
        """The module on the device; with bf16 its linear layers hold bf16 weights, so that no call casts them."""
        module.to(self.device)
        if self.bf16:
            for part in module.modules():
                if isinstance(part, nn.Linear):
                    part.to(torch.bfloat16)
        return module

    @property
    def precision(self) -> Literal["32", "bf16"]:
        """Name of the arithmetic, as on the command line."""
        return "bf16" if self.bf16 else "32"

    @property
    def machine(self) -> str:
        """Name of the GPU or CPU."""
        return device_name(self.device)


@dataclass(frozen=True)
class Rank:
    """Which process this is of those that share the episodes, as torchrun or SLURM say; alone without them."""

    index: int
    count: int
    local: int

    @staticmethod
    def of_environment() -> "Rank":
        """The rank of this process."""
        for names in (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")):
            if all(name in os.environ for name in names):
                return Rank(*(int(os.environ[name]) for name in names))
        return Rank(0, 1, 0)


def add_runtime_arguments(parser: argparse.ArgumentParser) -> None:
    """`--device` and `--precision`."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument(
        "--precision", choices=["32", "bf16"], default="32", help="arithmetic: fp32 or bf16 autocast (default: 32)"
    )


def runtime_of(arguments: argparse.Namespace) -> Runtime:
    """The runtime asked for.

    Raises:
        UserError: no device, or one that is not there.
    """
    name = arguments.device
    if name == "auto":
        name = f"cuda:{Rank.of_environment().local}" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"(cpu|cuda|mps)(:\d+)?", name):
        raise UserError(f"--device {name}: is no device: give cpu, cuda, cuda:0 or mps")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: not available ({str(error).splitlines()[0]}): use cpu") from None
    return Runtime(device, arguments.precision == "bf16")
