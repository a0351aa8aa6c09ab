"""Fit the numbers of a roofline to measured kernels, and say how far off it is on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hardware.calibration import HeldOut, held_out
from hardware.cpu_roofline import CpuRoofline
from hardware.gpu_roofline import GpuRoofline
from hardware.kernel_arrays import KernelArrays, Vector
from hardware.kernels import Kernel

_FACTOR = (0.1, 30.0)
_RATE = (1e5, 1e13)  # multiply-adds or bytes a millisecond
GPU_BOUNDS = {  # of every number that is fitted; the rest are facts of the device
    "macs_per_ms": _RATE,
    "bytes_per_ms": _RATE,
    "launch_ms": (1e-4, 10.0),
    "sharpness": (0.8, 20.0),
    "fill": (0.01, 10.0),
    "side": (0.1, 500.0),
    "cache_gain": (0.01, 10.0),
    "skipped_input": (0.2, 1.5),
    "depthwise_macs_per_ms": _RATE,
    "depthwise_bytes_per_ms": _RATE,
    **dict.fromkeys(("few_channels", "pointwise", "winograd", "k5", "k7"), _FACTOR),
    **dict.fromkeys(("depthwise_k3", "depthwise_k3_strided"), _FACTOR),
}
CPU_BOUNDS = {
    "macs_per_ms": _RATE,
    "private_bytes_per_ms": _RATE,
    "shared_bytes_per_ms": _RATE,
    "memory_bytes_per_ms": _RATE,
    "call_ms": (1e-5, 10.0),
    "sharpness": (0.8, 20.0),
    **dict.fromkeys(("pointwise", "depthwise", "few_channels", "odd_groups"), _FACTOR),
    "scalars_per_ms": _RATE,
}
LEAST_KERNELS = 30
MOST_KERNELS = 6_000  # more teach so few numbers nothing
SOFT = 0.2  # errors beyond 20 % count linearly
EVALUATIONS = 80
Roofline = TypeVar("Roofline", GpuRoofline, CpuRoofline)


class FitFailed(ValueError):
    """Too few measurements, or measurements that cannot be right; the message says which."""


def fit_roofline(
    start: Roofline, kernels: Sequence[Kernel] | KernelArrays, latency_ms: Vector, *, seed: int = 0
) -> Roofline:
    """The device whose latencies come closest to the measured ones: soft-L1 on logarithms, a second or so.

    Args:
        start: facts of the device (multiprocessors, precision, caches), and where the fit begins.
        kernels: n >= 30 of them, of the start's precision.
        latency_ms: (n,) > 0.
        seed: of the choice of 6,000 where there are more.
    Raises: FitFailed: too few kernels, or latencies that are not positive.
    """
    from scipy.optimize import least_squares

    work = KernelArrays.from_any(kernels)
    _check_latencies(work, latency_ms)
    chosen = np.random.default_rng(seed).permutation(len(latency_ms))[:MOST_KERNELS]
    work, logs = work.chosen(chosen), np.log(latency_ms[chosen])
    bounds = GPU_BOUNDS if isinstance(start, GpuRoofline) else CPU_BOUNDS
    low, high = np.log(np.array(list(bounds.values()))).T
    begin = np.clip(np.log([getattr(start, name) for name in bounds]), low + 1e-6, high - 1e-6)

    def fitted(numbers: NDArray[np.float64]) -> Roofline:
        return replace(start, **dict(zip(bounds, np.exp(numbers).tolist(), strict=True)))

    found = least_squares(
        lambda numbers: np.log(fitted(numbers).predict_ms(work)) - logs,
        begin,
        loss="soft_l1",
        f_scale=SOFT,
        max_nfev=EVALUATIONS,
        bounds=(low, high),
        diff_step=1e-3,
        x_scale=0.3,
    )
    return fitted(found.x)


def errors_of(
    model: GpuRoofline | CpuRoofline, kernels: Sequence[Kernel] | KernelArrays, latency_ms: Vector
) -> HeldOut:
    """Errors on kernels that the model was not fitted to."""
    return held_out(model.predict_ms(kernels), latency_ms)


def _check_latencies(work: KernelArrays, latency_ms: Vector) -> None:
    count = len(work.batch)
    if count != len(latency_ms) or count < LEAST_KERNELS:
        raise FitFailed(
            f"roofline fit: {count} kernels and {len(latency_ms)} latencies, expected as many of both, "
            f"{LEAST_KERNELS} or more; measure more kernels"
        )
    wrong = np.flatnonzero(~(np.isfinite(latency_ms) & (latency_ms > 0)))
    if len(wrong):
        raise FitFailed(
            f"roofline fit: latency {wrong[0] + 1} is {latency_ms[wrong[0]]:g} ms, expected a positive number; "
            "drop measurements that failed"
        )
