"""Named devices from their data sheets: rooflines where nobody has measured, with what is known of their error.

Peak rates are the vendors', without sparsity. How far below the peaks kernels stay and what a launch costs is known
for the V100 among the GPUs, where measured convolutions are fitted; its ratios stand in for the other GPUs. Those of
the phones' CPUs come from single kernels of ONNX Runtime on an AMD EPYC 7003. Such a device ranks designs; measured
rows of the device itself serve better.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from hardware.cpu_roofline import CpuRoofline
from hardware.gpu_roofline import GpuRoofline
from hardware.kernel_arrays import KernelArrays, Vector
from hardware.kernels import Kernel

UNVERIFIED = "unverified: no measurement of this device at hand"


class UnknownAnalyticDevice(ValueError):
    """No device of that name, or not at that precision; the message lists what there is."""


class GpuSheet(NamedTuple):
    """A GPU as its vendor describes it.

    Attributes:
        multiprocessors: streaming multiprocessors.
        cache_mb: last-level cache.
        gb_per_s: memory bandwidth.
        peaks: dense TFLOP/s or TOP/s by precision, two operations a multiply-add.
        source: where the figures stand.
    """

    multiprocessors: int
    cache_mb: float
    gb_per_s: float
    peaks: dict[str, float]
    source: str


class CpuSheet(NamedTuple):
    """One CPU core as its vendor describes it.

    Attributes:
        gmacs_per_s: clock times 32-bit lanes of all multiply-add units.
        private_kb, shared_mb: caches of the core and of all.
        gb_per_s: memory bandwidth that one core can use, taken as 60 % of the chip's.
        source: where the figures stand.
    """

    gmacs_per_s: float
    private_kb: float
    shared_mb: float
    gb_per_s: float
    source: str


GPUS = {
    "v100": GpuSheet(
        80,
        6,
        900,
        {"fp32": 15.7, "fp16": 125, "int8": 62.8},
        "NVIDIA Tesla V100 GPU Architecture, WP-08608-001, 2017 (SXM2)",
    ),
    "t4": GpuSheet(40, 4, 320, {"fp32": 8.1, "fp16": 65, "int8": 130}, "NVIDIA T4 data sheet, 2019"),
    "a100": GpuSheet(
        108, 40, 1555, {"fp32": 19.5, "fp16": 312, "int8": 624}, "NVIDIA A100 GPU Architecture, 2020 (SXM4, 40 GB)"
    ),
    "h100": GpuSheet(
        132, 50, 3350, {"fp32": 66.9, "fp16": 989.4, "int8": 1978.9}, "NVIDIA H100 GPU Architecture, 2022 (SXM5)"
    ),
    "jetson-agx-orin": GpuSheet(
        16, 4, 204.8, {"fp32": 5.3, "fp16": 42.5, "int8": 85}, "NVIDIA Jetson AGX Orin technical brief, 2022 (64 GB)"
    ),
    "jetson-agx-xavier": GpuSheet(
        8, 0.5, 136.5, {"fp32": 1.4, "fp16": 11, "int8": 22}, "NVIDIA Jetson AGX Xavier data sheet DS-09654, 2019"
    ),
}
CPUS = {
    "pixel4": CpuSheet(22.7, 512, 2, 20, "Qualcomm Snapdragon 855: Cortex-A76 at 2.84 GHz, two 128-bit units"),
    "pixel6": CpuSheet(44.8, 1024, 4, 30, "Google Tensor: Cortex-X1 at 2.80 GHz, four 128-bit units"),
}
_CONVOLUTIONS = "{} % mean absolute error on held-out V100 TensorRT convolutions, {} % of them within 10 %"
_BLOCKS = "{} % mean absolute error on 800 measured blocks, inverted residuals above all (nn-Meter), Spearman {}"
ERRORS = {  # printed by benchmarks/bench_analytic.py; every other device is unverified
    ("v100", "fp32"): _CONVOLUTIONS.format(16, 53),
    ("v100", "fp16"): _CONVOLUTIONS.format(23, 39),
    ("t4", "fp16"): "predicts 0.49 to 0.67 of the latencies published for the three GENets (TensorRT), in their order",
    ("pixel4", "fp32"): _BLOCKS.format(28, 0.967),
    ("pixel6", "fp32"): _BLOCKS.format(19, 0.964),
}
V100_FITTED = {  # to convolutions of TensorRT; by the same benchmark
    "fp32": GpuRoofline(
        80,
        "fp32",
        6e6,
        macs_per_ms=8.70e9,
        bytes_per_ms=7.13e8,
        launch_ms=0.0147,
        sharpness=2.0,
        fill=1.47,
        side=5.29,
        cache_gain=0.385,
        skipped_input=0.622,
        few_channels=1.12,
        pointwise=1.03,
        winograd=0.677,
        k5=0.956,
        k7=1.01,
        depthwise_macs_per_ms=5.33e8,
        depthwise_bytes_per_ms=4.67e8,
        depthwise_k3=0.1,
        depthwise_k3_strided=0.1,
    ),
    "fp16": GpuRoofline(
        80,
        "fp16",
        6e6,
        macs_per_ms=6.16e10,
        bytes_per_ms=9.33e8,
        launch_ms=0.0187,
        sharpness=0.981,
        fill=2.61,
        side=0.651,
        cache_gain=10.0,
        skipped_input=0.541,
        few_channels=3.50,
        pointwise=0.917,
        winograd=0.928,
        k5=0.982,
        k7=1.09,
        depthwise_macs_per_ms=1.20e9,
        depthwise_bytes_per_ms=9.42e8,
        depthwise_k3=0.311,
        depthwise_k3_strided=2.79,
    ),
}


@dataclass(frozen=True)
class AnalyticDevice:
    """A device that is known from its data sheet alone, or fitted where rows exist.

    Attributes:
        name: key into ``GPUS`` or ``CPUS``.
        precision: "fp32", "fp16" or "int8".
        roofline: its model.
        source: of the figures.
        error: what the model was found to be off by, or that nobody knows.
    """

    name: str
    precision: str
    roofline: GpuRoofline | CpuRoofline
    source: str
    error: str

    @property
    def verified(self) -> bool:
        """Whether its error was measured."""
        return self.error != UNVERIFIED

    def predict_ms(self, kernels: Sequence[Kernel] | KernelArrays) -> Vector:
        """(n,) milliseconds of each kernel, launch included."""
        return self.roofline.predict_ms(kernels)

    def __str__(self) -> str:
        return f"{self.name} at {self.precision} (analytic, {self.source}): {self.error}"


def analytic_device(name: str, precision: str = "fp32") -> AnalyticDevice:
    """The named device at a precision.

    Raises: UnknownAnalyticDevice: with the names and precisions that there are.
    """
    if name in CPUS:
        if precision != "fp32":
            raise UnknownAnalyticDevice(f"device {name!r}: precision {precision!r}, expected fp32")
        return AnalyticDevice(name, precision, _cpu(CPUS[name]), CPUS[name].source, _error(name, precision))
    if name not in GPUS:
        near = difflib.get_close_matches(name.lower(), ANALYTIC_DEVICES, n=1)
        hint = f"did you mean {near[0]!r}? Known are" if near else "expected one of"
        raise UnknownAnalyticDevice(f"device {name!r}: no data sheet; {hint} {', '.join(ANALYTIC_DEVICES)}")
    sheet = GPUS[name]
    if precision not in sheet.peaks:
        expected = ", ".join(sheet.peaks)
        raise UnknownAnalyticDevice(f"device {name!r}: precision {precision!r}, expected one of {expected}")
    return AnalyticDevice(name, precision, _gpu(name, precision), sheet.source, _error(name, precision))


ANALYTIC_DEVICES = (*GPUS, *CPUS)


def _error(name: str, precision: str) -> str:
    return ERRORS.get((name, precision), UNVERIFIED)


def _gpu(name: str, precision: str) -> GpuRoofline:
    """The V100's roofline of the nearest precision, its rates scaled by those of the data sheets."""
    fitted = V100_FITTED["fp32" if precision == "fp32" else "fp16"]
    if (name, precision) == ("v100", fitted.precision):
        return fitted
    v100, sheet = GPUS["v100"], GPUS[name]
    peak = sheet.peaks[precision] / v100.peaks[fitted.precision]
    vector = sheet.peaks["fp32"] / v100.peaks["fp32"]  # depthwise convolutions do not use the matrix units
    bandwidth = sheet.gb_per_s / v100.gb_per_s
    return replace(
        fitted,
        multiprocessors=sheet.multiprocessors,
        precision=precision,
        cache_bytes=1e6 * sheet.cache_mb,
        macs_per_ms=fitted.macs_per_ms * peak,
        bytes_per_ms=fitted.bytes_per_ms * bandwidth,
        depthwise_macs_per_ms=fitted.depthwise_macs_per_ms * vector,
        depthwise_bytes_per_ms=fitted.depthwise_bytes_per_ms * bandwidth,
    )


def _cpu(sheet: CpuSheet) -> CpuRoofline:
    """A core with the ratios that single kernels of ONNX Runtime show on an AMD EPYC 7003."""
    peak = 1e6 * sheet.gmacs_per_s
    return CpuRoofline(
        vector=4,
        scalar_bytes=4,
        private_bytes=1e3 * sheet.private_kb,
        shared_bytes=1e6 * sheet.shared_mb,
        macs_per_ms=0.88 * peak,
        private_bytes_per_ms=0.5 * peak,
        shared_bytes_per_ms=0.3 * peak,
        memory_bytes_per_ms=1e6 * sheet.gb_per_s,
        call_ms=0.005,
        sharpness=0.82,
        pointwise=0.70,
        depthwise=0.84,
        few_channels=0.74,
        odd_groups=3.9,
        scalars_per_ms=0.05 * peak,
    )
