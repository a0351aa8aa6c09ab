"""The gate before any timing: a runtime that computes something else is not fast, it is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hardware.device import Device
from hardware.runtimes.contract import NumericsMismatch, Runnable, Source
from hardware.runtimes.onnxruntime import load as load_reference

TOLERANCE = 1e-3  # of the largest output; float32 back-ends differ by 1e-6, Winograd by 2e-5


def check_numerics(runnable: Runnable, source: Source, device: Device, tolerance: float = TOLERANCE) -> float:
    """Compare with the ONNX graph run node by node, without optimisations, on one seeded batch.

    Returns: largest absolute error as a fraction of the largest reference output; lower is better.
    Raises: NumericsMismatch: naming the model and the error.
    """
    shape = (device.batch, *source.input_shape)
    images = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    reference = Device(batch=device.batch)
    expected = load_reference(source, reference, optimise=False).run_once(images)
    return compare(source.name, runnable.run_once(images), expected, tolerance)


def compare(name: str, output: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> float:
    """The relative error of an output. Raises NumericsMismatch beyond the tolerance."""
    if output.shape != expected.shape:
        raise NumericsMismatch(f"{name}: the runtime returns shape {output.shape}, expected {expected.shape}")
    if not np.isfinite(expected).all():
        raise NumericsMismatch(f"{name}: the network's own output is not finite; its latency would mean nothing")
    scale = max(float(np.abs(expected).max()), 1e-12)
    error = float(np.abs(output.astype(np.float64) - expected).max()) / scale
    if not error <= tolerance:
        raise NumericsMismatch(
            f"{name}: the runtime's output is off by {error:.2g} of its range, allowed is {tolerance:g}"
        )
    return error
