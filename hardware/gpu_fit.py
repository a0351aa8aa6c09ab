"""Fit the numbers of a GPU roofline to measured kernels, and say how far off it is on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hardware.calibration import HeldOut, held_out
from hardware.gpu_roofline import GpuRoofline, InvalidGpu
from hardware.kernel_arrays import KernelArrays, Vector
from hardware.kernels import Kernel

BOUNDS = {  # of every number that is fitted; the rest are facts of the GPU
    "macs_per_ms": (1e6, 1e13),
    "bytes_per_ms": (1e5, 1e11),
    "launch_ms": (1e-4, 10.0),
    "sharpness": (0.8, 20.0),
    "fill": (0.01, 10.0),
    "side": (0.1, 500.0),
    "cache_gain": (0.01, 10.0),
    "skipped_input": (0.2, 1.5),
    "few_channels": (0.2, 30.0),
    "pointwise": (0.1, 5.0),
    "winograd": (0.1, 5.0),
    "k5": (0.1, 5.0),
    "k7": (0.1, 5.0),
    "depthwise_macs_per_ms": (1e5, 1e13),
    "depthwise_bytes_per_ms": (1e5, 1e11),
    "depthwise_k3": (0.1, 10.0),
    "depthwise_k3_strided": (0.1, 10.0),
}
LEAST_KERNELS = 30
MOST_KERNELS = 6_000  # more teach seventeen numbers nothing
SOFT = 0.2  # errors beyond 20 % count linearly
EVALUATIONS = 80


def fit_gpu(
    start: GpuRoofline, kernels: Sequence[Kernel] | KernelArrays, latency_ms: Vector, *, seed: int = 0
) -> GpuRoofline:
    """The GPU whose latencies come closest to the measured ones: soft-L1 on logarithms, a few seconds.

    Args:
        start: facts of the GPU (multiprocessors, precision, cache), and where the fit begins.
        kernels: n >= 30 of them, of the start's precision.
        latency_ms: (n,) > 0.
        seed: of the choice of 6,000 where there are more.
    Raises: InvalidGpu: too few kernels, or latencies that are not positive.
    """
    from scipy.optimize import least_squares

    work = KernelArrays.from_any(kernels)
    _check_latencies(work, latency_ms)
    chosen = np.random.default_rng(seed).permutation(len(latency_ms))[:MOST_KERNELS]
    work, logs = work.chosen(chosen), np.log(latency_ms[chosen])
    low, high = np.log(np.array(list(BOUNDS.values()))).T
    begin = np.clip(np.log([getattr(start, name) for name in BOUNDS]), low + 1e-6, high - 1e-6)

    def errors(numbers: NDArray[np.float64]) -> Vector:
        return np.asarray(np.log(_with(start, numbers).predict_ms(work)) - logs)

    found = least_squares(
        errors,
        begin,
        loss="soft_l1",
        f_scale=SOFT,
        max_nfev=EVALUATIONS,
        bounds=(low, high),
        diff_step=1e-3,
        x_scale=0.3,
    )
    return _with(start, found.x)


def errors_of(model: GpuRoofline, kernels: Sequence[Kernel] | KernelArrays, latency_ms: Vector) -> HeldOut:
    """Errors on kernels that the model was not fitted to."""
    return held_out(model.predict_ms(kernels), latency_ms)


def _with(start: GpuRoofline, numbers: NDArray[np.float64]) -> GpuRoofline:
    return replace(start, **dict(zip(BOUNDS, np.exp(numbers).tolist(), strict=True)))


def _check_latencies(work: KernelArrays, latency_ms: Vector) -> None:
    count = len(work.batch)
    if count != len(latency_ms) or count < LEAST_KERNELS:
        raise InvalidGpu(f"gpu fit: {count} kernels and {len(latency_ms)} latencies, expected {LEAST_KERNELS} or more")
    wrong = np.flatnonzero(~(np.isfinite(latency_ms) & (latency_ms > 0)))
    if len(wrong):
        raise InvalidGpu(
            f"gpu fit: latency {wrong[0] + 1} is {latency_ms[wrong[0]]:g} ms, expected a positive number; "
            "drop measurements that failed"
        )
