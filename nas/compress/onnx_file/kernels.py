"""Which operations of a file ONNX Runtime runs in integers, and which stay in floating point, with the reason."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime

_WEIGHTED = ("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "NhwcFusedConv")
_INTEGER = (
    "QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "ConvInteger",
    "MatMulInteger",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FloatNode:
    """A convolution, linear layer or product that runs in floating point.

    Attributes:
        name: of the node in the file.
        operation: of ONNX.
        reason: why.
        weight: name of its weight in the network; empty where two activations are multiplied.
    """

    name: str
    operation: str
    reason: str
    weight: str = ""


@dataclass(frozen=True, slots=True)
class Kernels:
    """What ONNX Runtime makes of a file on this machine.

    Attributes:
        integer: how many convolutions, linear layers and products run in integers.
        floating: the others.
    """

    integer: int
    floating: tuple[FloatNode, ...]


def kernels_of(model: onnx.ModelProto) -> Kernels:
    """Load a file as a user does and look at the nodes that remain.

    Args:
        model: any network, in floating point or quantised.
    """
    rounded = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    constants = {tensor.name for tensor in model.graph.initializer}
    integer, floating = 0, []
    for node in _optimised(model).graph.node:
        if node.op_type in _INTEGER:
            integer += 1
        elif node.op_type in _WEIGHTED:
            before = _origin(node, model) or node
            weight = _weight(before, rounded, constants)
            floating.append(FloatNode(before.name, before.op_type, _reason(before, rounded, weight), weight))
    return Kernels(integer, tuple(floating))


def _origin(node: onnx.NodeProto, model: onnx.ModelProto) -> onnx.NodeProto | None:
    """The node of the file. ONNX Runtime appends to names, and a joined node has the name of the last one."""
    matching = [each for each in model.graph.node if each.name and node.name.startswith(each.name)]
    found = max(matching, key=lambda each: len(each.name), default=None)
    makers = {name: each for each in model.graph.node for name in each.output}
    while found is not None and found.op_type not in _WEIGHTED:
        found = makers.get(found.input[0]) if found.input else None
    return found


def _weight(node: onnx.NodeProto, rounded: Mapping[str, onnx.NodeProto], constants: Collection[str]) -> str:
    source = str(node.input[1])
    if source in rounded:
        source = str(rounded[source].input[0])
    return source.removesuffix("_codes").removesuffix("_turned") if source in constants else ""


def _optimised(model: onnx.ModelProto) -> onnx.ModelProto:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def _reason(node: onnx.NodeProto, rounded: Mapping[str, onnx.NodeProto], weight: str) -> str:
    integers = [name in rounded for name in node.input[:2]]
    if node.op_type == "ConvTranspose":
        return "ONNX Runtime has no integer kernel for transposed convolutions"
    if "MatMul" in node.op_type and not weight and not all(integers):
        return "a product of two activations, not both of them rounded"
    if not any(integers):
        return "neither its input nor its weight is quantised"
    if not integers[0]:
        return "its input is not quantised"
    if not integers[1]:
        return "its weight is not quantised"
    return "its output is not rounded, or ONNX Runtime did not join it with the rounding beside it"
