"""Layers -> a TFLite flatbuffer, written directly: milliseconds, where the official converter brings a gigabyte.

Channels come last, as TFLite wants them: the input is (batch, H, W, C), and so are maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

from hardware.folded_network import FoldedNetwork, check_covered
from search_spaces.layers import ADD, CONV, INPUT, LINEAR, RELU, RELU6, SUM, Layer, Shape
from search_spaces.onnx_graph import Weights

SCHEMA_VERSION = 3
FUSED = {op: (RELU, RELU6) for op in (CONV, ADD, LINEAR)} | {SUM: (RELU,)}
Options = tuple[str, Mapping[str, int | float | bool]]  # name of the table in the schema, its fields
_TYPES = {np.dtype(np.float32): tflite.TensorType.FLOAT32, np.dtype(np.int32): tflite.TensorType.INT32}


def tflite_model(layers: Sequence[Layer], weights: Weights, input_shape: Shape, *, batch: int = 1) -> bytes:
    """The network as a TFLite model with norms and ReLUs folded into the kernels before them.

    Args:
        layers: of ``expand``; the last one is the output.
        weights: float32 tensors named as in a state dict.
        input_shape: (channels, height, width) of one image.
        batch: images per call.
    Returns: a file's content; input (batch, H, W, C), output (batch, classes) or a map (batch, H, W, C).
    Raises: UncoveredLayer, WeightsMismatch.
    """
    from hardware.tflite_nodes import WRITERS

    check_covered(layers, WRITERS, "TFLite")
    network = FoldedNetwork(layers, weights, FUSED)
    channels, height, width = input_shape
    graph = TfliteGraph(batch)
    values = {INPUT: graph.value("images", (batch, height, width, channels))}
    for step in network.steps():
        values[step.output] = WRITERS[step.layer.op](graph, network, step, [values[i] for i in step.layer.inputs])
    return graph.serialised(values[INPUT], values[len(layers) - 1])


class TfliteGraph:
    """Tensors, constants and operators under construction; tensors are known by their positions."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.shapes: list[tuple[int, ...]] = []
        self._names: list[str] = []
        self._constants: dict[int, NDArray[Any]] = {}
        self._operators: list[tuple[str, tuple[int, ...], int, Options | None]] = []

    def value(self, name: str, shape: Sequence[int]) -> int:
        """A tensor that some operator, or the caller, fills."""
        self.shapes.append(tuple(shape))
        self._names.append(name)
        return len(self.shapes) - 1

    def constant(self, name: str, values: NDArray[Any] | Sequence[Any] | float) -> int:
        """A tensor of float32 or int32 values."""
        array = np.asarray(values)
        array = array.astype(np.int32 if array.dtype.kind == "i" else np.float32)
        at = self.value(name, array.shape)
        self._constants[at] = array
        return at

    def op(self, code: str, inputs: Sequence[int], shape: Sequence[int], options: Options | None = None) -> int:
        """An operator by its name in the schema; returns its output."""
        output = self.value(f"{code.lower()}{len(self._operators)}", shape)
        self._operators.append((code, tuple(inputs), output, options))
        return output

    def serialised(self, image_input: int, output: int) -> bytes:
        """The whole model."""
        builder = flatbuffers.Builder(1 << 16)
        codes = sorted({code for code, *_ in self._operators})
        tables = {
            "Buffers": [_buffer(builder, None), *(_buffer(builder, array) for array in self._constants.values())],
            "Subgraphs": [self._subgraph(builder, codes, image_input, output)],
            "OperatorCodes": [_operator_code(builder, code) for code in codes],
        }
        vectors = {name: _offsets(builder, offsets) for name, offsets in tables.items()}
        model = _table(builder, "Model", {"Version": SCHEMA_VERSION, **vectors})
        builder.Finish(model, b"TFL3")
        return bytes(builder.Output())

    def _subgraph(self, builder: flatbuffers.Builder, codes: list[str], image_input: int, result: int) -> int:
        buffers = {at: 1 + i for i, at in enumerate(self._constants)}  # buffer 0 is that of no content
        tensors = [self._tensor(builder, at, buffers.get(at, 0)) for at in range(len(self.shapes))]
        operators = [
            _operator(builder, codes.index(code), inputs, output, options)
            for code, inputs, output, options in self._operators
        ]
        fields = {
            "Tensors": _offsets(builder, tensors),
            "Operators": _offsets(builder, operators),
            "Inputs": _integers(builder, [image_input]),
            "Outputs": _integers(builder, [result]),
        }
        return _table(builder, "SubGraph", fields)

    def _tensor(self, builder: flatbuffers.Builder, at: int, buffer: int) -> int:
        kind = self._constants[at].dtype if at in self._constants else np.dtype(np.float32)
        fields = {
            "Shape": _integers(builder, self.shapes[at]),
            "Type": _TYPES[kind],
            "Buffer": buffer,
            "Name": builder.CreateString(self._names[at]),
        }
        return _table(builder, "Tensor", fields)


def _operator(
    builder: flatbuffers.Builder, code: int, inputs: Sequence[int], output: int, options: Options | None
) -> int:
    fields: dict[str, Any] = {
        "OpcodeIndex": code,
        "Inputs": _integers(builder, inputs),
        "Outputs": _integers(builder, [output]),
    }
    if options is not None:
        kind, values = options
        fields["BuiltinOptions"] = _table(builder, kind, values)
        fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, kind)
    return _table(builder, "Operator", fields)


def _operator_code(builder: flatbuffers.Builder, code: str) -> int:
    number = getattr(tflite.BuiltinOperator, code)
    fields = {"DeprecatedBuiltinCode": min(number, 127), "BuiltinCode": number, "Version": 1}
    return _table(builder, "OperatorCode", fields)


def _buffer(builder: flatbuffers.Builder, content: NDArray[Any] | None) -> int:
    if content is None:
        return _table(builder, "Buffer", {})
    data = np.frombuffer(np.ascontiguousarray(content).tobytes(), np.uint8)
    builder.StartVector(1, len(data), 16)  # kernels want aligned weights
    builder.head = builder.head - len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data.tobytes()
    return _table(builder, "Buffer", {"Data": builder.EndVector()})


def _table(builder: flatbuffers.Builder, kind: str, fields: Mapping[str, Any]) -> int:
    """One table of the schema; what it refers to was written before it."""
    getattr(tflite, f"{kind}Start")(builder)
    for name, value in fields.items():
        getattr(tflite, f"{kind}Add{name}")(builder, value)
    end: int = getattr(tflite, f"{kind}End")(builder)
    return end


def _integers(builder: flatbuffers.Builder, values: Sequence[int]) -> int:
    end: int = builder.CreateNumpyVector(np.array(values, np.int32))
    return end


def _offsets(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    end: int = builder.EndVector()
    return end
