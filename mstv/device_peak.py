"""The rate of matrix products that a device is made for, against which utilisation is told."""

import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

Arithmetic = Literal["fp32", "tf32", "fp16", "bf16"]

PUBLISHED: tuple[tuple[str, dict[Arithmetic, float]], ...] = (
    ("H200 NVL|H100 NVL", {"bf16": 835.5, "fp16": 835.5, "tf32": 417.5, "fp32": 60}),
    ("H100 PCIe", {"bf16": 756, "fp16": 756, "tf32": 378, "fp32": 51}),
    ("GH200|H200|H100", {"bf16": 989.4, "fp16": 989.4, "tf32": 494.7, "fp32": 66.9}),
    ("B200", {"bf16": 2250, "fp16": 2250, "tf32": 1125}),
    ("A100", {"bf16": 312, "fp16": 312, "tf32": 156, "fp32": 19.5}),
    ("A10", {"bf16": 125, "fp16": 125, "tf32": 62.5, "fp32": 31.2}),
    ("L40S", {"bf16": 362, "fp16": 362, "tf32": 183, "fp32": 91.6}),
    ("L4", {"bf16": 121, "fp16": 121, "tf32": 60, "fp32": 30.3}),
    ("V100-SXM2", {"fp16": 125, "fp32": 15.7}),
    ("T4", {"fp16": 65, "fp32": 8.1}),
    ("RTX 4090", {"bf16": 165.2, "fp16": 165.2, "tf32": 82.6, "fp32": 82.6}),
    ("RTX 3090", {"bf16": 71, "fp16": 71, "tf32": 35.6, "fp32": 35.6}),
)
"""TFLOP/s of data sheets: dense, accumulated in fp32. Sheets often print twice that, which is with sparsity."""
MEASURED_SECONDS = 0.5
LONG_SECONDS, MAX_SIZE = 0.02, 8192
"""A product that takes so long, or is so large, uses the device well enough."""


@dataclass(frozen=True)
class DevicePeak:
    """How many FLOP/s of matrix products a device can do at best.

    Attributes:
        flops: FLOP/s; a multiplication and an addition are two.
        source: `published` by the maker, or `measured` here as the fastest of many large products.
        device: name of the device.
        arithmetic: of the products; of a measured peak the faster one of the training's and fp32.
    """

    flops: float
    source: Literal["published", "measured"]
    device: str
    arithmetic: Arithmetic

    @staticmethod
    def of(device: torch.device, precision: str) -> "DevicePeak":
        """Peak of `device` at one of Lightning's precisions, such as `bf16-mixed`; measured where none is known."""
        name = device_name(device)
        arithmetic = _arithmetic(device, precision)
        published = published_flops(name, arithmetic) if device.type == "cuda" else None
        if published is not None:
            return DevicePeak(published, "published", name, arithmetic)
        # Where half precision is emulated, as on many CPUs, it is slower than fp32 and no peak.
        names: tuple[Arithmetic, ...] = ("fp32",) if arithmetic == "fp32" else (arithmetic, "fp32")
        flops, fastest = max((_measure(device, each, MEASURED_SECONDS / len(names)), each) for each in names)
        return DevicePeak(flops, "measured", name, fastest)

    def __str__(self) -> str:
        """In a user's words."""
        return f"{self.flops / 1e12:,.3g} TFLOP/s, {self.source}, {self.arithmetic} on {self.device}"


def device_name(device: torch.device) -> str:
    """Name of the GPU, or of the CPU with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def published_flops(name: str, arithmetic: Arithmetic) -> float | None:
    """FLOP/s by the maker's data sheet, or None for an unknown device or a slice of one."""
    if "MIG" in name:
        return None
    for pattern, rates in PUBLISHED:
        if re.search(rf"\b({pattern})\b", name, re.IGNORECASE):
            return rates[arithmetic] * 1e12 if arithmetic in rates else None
    return None


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was told."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _arithmetic(device: torch.device, precision: str) -> Arithmetic:
    if precision.startswith("bf16"):
        return "bf16"
    if precision.startswith("16"):
        return "fp16"
    has_tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return "tf32" if has_tf32 and torch.get_float32_matmul_precision() != "highest" else "fp32"


@torch.no_grad()
def _measure(device: torch.device, arithmetic: Arithmetic, seconds: float) -> float:
    """Rate of the fastest of many products of square matrices, ever larger ones as long as they are done quickly."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(arithmetic, torch.float32)
    # A generator of its own: the global one belongs to the training.
    generator = torch.Generator(device).manual_seed(0)
    size, best, until = 128, 0.0, time.perf_counter() + seconds
    lasted = 0.0
    while time.perf_counter() < until:
        if lasted < LONG_SECONDS and size < MAX_SIZE:
            size *= 2
            left, right = torch.randn(2, size, size, generator=generator, device=device).to(dtype)
        synchronise(device)
        began = time.perf_counter()
        left @ right
        synchronise(device)
        lasted = time.perf_counter() - began
        best = max(best, 2 * size**3 / lasted)
    return best
