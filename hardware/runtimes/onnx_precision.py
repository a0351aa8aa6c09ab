"""The ONNX model of a source in the precision that a device computes in."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx

from hardware.device import FP32, Device
from hardware.half_onnx import halve
from hardware.integer_kernels import weight_bits_here
from hardware.quantise_onnx import CannotQuantise, activation_ranges, quantise
from hardware.runtimes.contract import RuntimeRefused, Source
from hardware.runtimes.onnx_input import check_image_input

# Random images, for timing and not for accuracy: four calls, or as many as it takes to see the tails of small inputs.
LEAST_BATCHES, MOST_BATCHES, ENOUGH_VALUES = 4, 256, 10_000


def model_in_precision(source: Source, device: Device) -> bytes | str:
    """The bytes of the model, or the path of a file that runs as it is.

    In "int8" quantised on seeded random images, with 7-bit weights where 8 bits overflow on this CPU; in "fp16" with
    half-precision weights and arithmetic. Inputs and outputs stay float32.
    Raises: RuntimeRefused: the model cannot be read, does not fit the device, or cannot be converted.
    """
    if device.precision == FP32:
        return str(source.onnx) if isinstance(source.onnx, Path) else source.onnx
    model = check_image_input(source, device)
    try:
        changed = halve(model) if device.precision == "fp16" else _quantised(model, source, device)
    except CannotQuantise as error:
        raise RuntimeRefused(f"{source.name}: cannot become {device.precision}: {error}") from None
    converted: bytes = changed.SerializeToString()
    return converted


def _quantised(model: onnx.ModelProto, source: Source, device: Device) -> onnx.ModelProto:
    rng = np.random.default_rng(2)
    shape = (device.batch, *source.input_shape)
    batches = min(max(LEAST_BATCHES, ENOUGH_VALUES // math.prod(shape)), MOST_BATCHES)
    images = (rng.standard_normal(shape, dtype=np.float32) for _ in range(batches))
    return quantise(model, activation_ranges(model, images), reduce_range=weight_bits_here().bits < 8)
