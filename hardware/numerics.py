"""The gate before any timing: a runtime that computes something else is not fast, it is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from hardware.device import Device
from hardware.runtimes.contract import NumericsMismatch, Runnable, Source
from hardware.runtimes.onnxruntime import load as load_reference

TOLERANCE = 1e-3  # of the largest output; float32 back-ends differ by 1e-6, Winograd by 2e-5


LEAST_COSINE = {"fp16": 0.999, "int8": 0.99}  # with the float32 output; random networks of all spaces keep these


def check_numerics(runnable: Runnable, source: Source, device: Device, tolerance: float = TOLERANCE) -> float:
    """Compare with the float32 ONNX graph run node by node, without optimisations, on one seeded batch.

    Returns: largest absolute error as a fraction of the largest reference output; in a lower precision than fp32, the
        device's or the file's own, one minus the cosine of both outputs. Lower is better.
    Raises: NumericsMismatch: naming the model and the error.
    """
    shape = (device.batch, *source.input_shape)
    images = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    expected = load_reference(source, Device(batch=device.batch), optimise=False).run_once(images)
    output = runnable.run_once(images)
    precision = "int8" if _rounds_activations(source) else device.precision
    if precision in LEAST_COSINE:
        return compare_directions(source.name, output, expected, precision)
    return compare(source.name, output, expected, tolerance)


def _rounds_activations(source: Source) -> bool:
    """Whether the file is quantised: a value between two steps may then be rounded either way, by a whole step."""
    if isinstance(source.onnx, Path):
        model = onnx.load(source.onnx, load_external_data=False)
    else:
        model = onnx.load_from_string(source.onnx)
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def compare(name: str, output: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> float:
    """The relative error of an output. Raises NumericsMismatch beyond the tolerance."""
    _check_comparable(name, output, expected)
    scale = max(float(np.abs(expected).max()), 1e-12)
    error = float(np.abs(output.astype(np.float64) - expected).max()) / scale
    if not error <= tolerance:
        raise NumericsMismatch(
            f"{name}: the runtime's output is off by {error:.2g} of its range, allowed is {tolerance:g}"
        )
    return error


def compare_directions(name: str, output: NDArray[np.float32], expected: NDArray[np.float32], precision: str) -> float:
    """One minus the cosine of two outputs. Raises NumericsMismatch where that is too much for the precision."""
    _check_comparable(name, output, expected)
    ours, theirs = output.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    lengths = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    cosine = float(ours @ theirs) / lengths if lengths != 0 else float(np.array_equal(ours, theirs))
    if not cosine >= LEAST_COSINE[precision]:
        raise NumericsMismatch(
            f"{name}: the runtime's output in {precision} has a cosine of {cosine:.4g} with that in float32, "
            f"expected at least {LEAST_COSINE[precision]:g}"
        )
    return max(0.0, 1 - cosine)


def _check_comparable(name: str, output: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    if output.shape != expected.shape:
        raise NumericsMismatch(f"{name}: the runtime returns shape {output.shape}, expected {expected.shape}")
    if not np.isfinite(expected).all():
        raise NumericsMismatch(f"{name}: the network's own output is not finite; its latency would mean nothing")
