"""What every runtime that reads ONNX checks before its library sees the model."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from hardware.device import Device
from hardware.runtimes.contract import RuntimeRefused, Source


def check_image_input(source: Source, device: Device) -> onnx.ModelProto:
    """The model of the source, if its only input is float32 images of the asked size.

    Raises: RuntimeRefused: not a model, another input, or made for another batch or image size.
    """
    try:
        model = onnx.load(source.onnx) if isinstance(source.onnx, Path) else onnx.load_from_string(source.onnx)
    except (DecodeError, OSError) as error:
        raise RuntimeRefused(f"{source.name}: not a readable ONNX model: {str(error).splitlines()[0]}") from None
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        found = ", ".join(value.name for value in inputs) or "none"
        raise RuntimeRefused(f"{source.name}: inputs are {found}; expected one float32 image input")
    declared = [size.dim_value for size in inputs[0].type.tensor_type.shape.dim]  # 0 where it is open
    wanted = [device.batch, *source.input_shape]
    if len(declared) != 4 or any(have not in (0, want) for have, want in zip(declared, wanted, strict=True)):
        raise RuntimeRefused(f"{source.name}: its input is {declared}, the device asks for {wanted} (batch, C, H, W)")
    return model
