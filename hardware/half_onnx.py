"""An ONNX graph in half precision, with inputs and outputs in float32."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_LARGEST = float(np.finfo(np.float16).max)
_KEEP_FLOAT = {"Resize": (2,)}  # inputs that must be float32 by the standard: the scales


def halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with float16 weights, activations and arithmetic.

    Weights beyond float16 become its largest value. Casts stand behind the inputs and before the outputs.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.value_info[:]  # the types noted there no longer hold
    _halve_constants(graph)
    constants = {tensor.name for tensor in graph.initializer}
    inside = {
        value.name: f"{value.name}_half" for value in (*graph.input, *graph.output) if value.name not in constants
    }
    for node in graph.node:
        node.input[:] = [inside.get(name, name) for name in node.input]
        node.output[:] = [inside.get(name, name) for name in node.output]
    before = [_cast(v.name, inside[v.name], TensorProto.FLOAT16) for v in graph.input if v.name in inside]
    after = [_cast(inside[v.name], v.name, TensorProto.FLOAT) for v in graph.output]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    return result


def _cast(name: str, output: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [output], f"{output}_cast", to=to)


def _halve_constants(graph: onnx.GraphProto) -> None:
    float_inputs = {
        node.input[i] for node in graph.node for i in _KEEP_FLOAT.get(node.op_type, ()) if len(node.input) > i
    }
    tensors = [tensor for tensor in graph.initializer if tensor.name not in float_inputs]
    tensors += [a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute if a.name == "value"]
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT:
            value = np.clip(numpy_helper.to_array(tensor), -_LARGEST, _LARGEST).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
