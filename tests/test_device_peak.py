"""Peaks of devices."""

import pytest
import torch

from mstv import device_peak
from mstv.device_peak import DevicePeak, published_flops


@pytest.mark.parametrize(
    ("name", "arithmetic", "tera"),
    [
        ("NVIDIA H200", "bf16", 989.4),
        ("NVIDIA H200 NVL", "bf16", 835.5),
        ("NVIDIA H100 80GB HBM3", "tf32", 494.7),
        ("NVIDIA H100 PCIe", "bf16", 756),
        ("NVIDIA GH200 480GB", "bf16", 989.4),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312),
        ("NVIDIA A10", "bf16", 125),
        ("NVIDIA L40S", "bf16", 362),
        ("NVIDIA L4", "bf16", 121),
        ("Tesla T4", "fp16", 65),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
    ],
)
def test_published_peaks_are_dense(name: str, arithmetic: device_peak.Arithmetic, tera: float) -> None:
    assert published_flops(name, arithmetic) == pytest.approx(tera * 1e12)


@pytest.mark.parametrize("name", ["NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA A1000", "Tesla T40", "cpu"])
def test_unknown_devices_are_measured(name: str) -> None:
    assert published_flops(name, "bf16") is None


def test_the_cpu_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_peak, "MEASURED_SECONDS", 0.1)
    before = torch.get_rng_state()
    peak = DevicePeak.of(torch.device("cpu"), "32-true")
    assert torch.equal(before, torch.get_rng_state())
    assert peak.source == "measured" and peak.arithmetic == "fp32"
    assert 1e9 < peak.flops < 1e14
    assert " TFLOP/s, measured, fp32 on " in str(peak) and str(peak).endswith(" threads")


def test_emulated_arithmetic_is_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        device_peak, "_measure", lambda device, arithmetic, seconds: {"bf16": 1e9, "fp32": 5e10}[arithmetic]
    )
    peak = DevicePeak.of(torch.device("cpu"), "bf16-mixed")
    assert peak.flops == 5e10 and peak.arithmetic == "fp32"
