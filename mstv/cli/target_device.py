"""The GPU that a training is planned for."""

import os
from dataclasses import dataclass

import torch

from mstv.device_memory import PUBLISHED, published_bytes
from mstv.device_peak import Arithmetic, DevicePeak, published_flops
from mstv.errors import UserError
from mstv.memory.training_step import Precision

_KNOWN = ", ".join(pattern for pattern, _ in PUBLISHED if pattern.replace(" ", "").isalnum())


@dataclass(frozen=True)
class TargetDevice:
    """One GPU, or this machine's CPU.

    Attributes:
        name: of it.
        memory: bytes.
        flops: FLOP/s of matrix products at best; 0 where nobody asked.
        peak: the same in words.
    """

    name: str
    memory: int
    flops: float
    peak: str

    @staticmethod
    def of(
        name: str | None, precision: Precision, gibibytes: float | None = None, with_peak: bool = True
    ) -> "TargetDevice":
        """The device called `name`, or this machine's.

        Args:
            name: such as `h100`; None is this machine's GPU, or its CPU.
            precision: of the training.
            gibibytes: memory, where it is not the published one.
            with_peak: whether the peak is wanted; that of a CPU is measured.

        Raises:
            UserError: an unknown name, or a precision that the device does not have.
        """
        if name is None:
            return _here(precision, gibibytes, with_peak)
        memory = published_bytes(name) if gibibytes is None else round(gibibytes * 2**30)
        if memory is None:
            raise UserError(f"--gpu {name}: unknown, expected one of {_KNOWN}: or give its --gpu-memory")
        rates = {arithmetic: published_flops(name, arithmetic) for arithmetic in _arithmetics(precision)}
        arithmetic, flops = next(((key, rate) for key, rate in rates.items() if rate), (None, 0.0))
        if not flops and with_peak:
            raise UserError(
                f"--gpu {name}: its peak at {precision.name} is not known: give --tokens-per-second, or one of {_KNOWN}"
            )
        return TargetDevice(name, memory, flops or 0.0, f"{flops / 1e12:,.4g} TFLOP/s ({arithmetic}, published, dense)")


def _here(precision: Precision, gibibytes: float | None, with_peak: bool) -> TargetDevice:
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    if on_gpu:
        name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(device).total_memory
    else:
        name, memory = "this CPU", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if gibibytes is not None:
        memory = round(gibibytes * 2**30)
    if not with_peak:
        return TargetDevice(name, memory, 0.0, "")
    peak = DevicePeak.of(device, precision.name)
    return TargetDevice(name, memory, peak.flops, str(peak))


def _arithmetics(precision: Precision) -> tuple[Arithmetic, ...]:
    """Of matrix products, the fastest that the command line allows first."""
    dtype = precision.autocast or precision.weights
    if dtype == torch.bfloat16:
        return ("bf16",)
    return ("fp16",) if dtype == torch.float16 else ("tf32", "fp32")
