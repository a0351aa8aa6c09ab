"""Static 8-bit quantisation of an ONNX graph: rounding written around every node that has an integer kernel.

Activations are unsigned with a zero point, one scale a tensor, from the least and the largest value seen; weights are
signed and symmetric with one scale an output channel; biases are 32-bit with the product of both scales. That is
"U8S8" of ONNX Runtime's quantiser (QuantizeLinear and DequantizeLinear nodes), the quicker choice on CPUs without
VNNI, first and last layer included. A ReLU behind a quantised operation vanishes: rounding to an unsigned tensor that
begins at 0 is one.

Source: Jacob et al. 2018, arXiv 1712.05877, section 2 (affine quantisation, integer bias); Krishnamoorthi 2018,
arXiv 1806.08342, section 3.1 (symmetric weights per channel). Deviations: none; ranges are not smoothed over batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Ranges = Mapping[str, tuple[float, float]]

INTEGER_OPS = ("Conv", "Gemm", "Add", "Mul", "GlobalAveragePool", "Sigmoid", "Flatten")  # slow: AveragePool
LEAST_OPSET = 13  # the first with a scale for each channel
_WEIGHTED = ("Conv", "Gemm")
_UINT8 = 255


class CannotQuantise(ValueError):
    """The graph is too old to hold scales for each channel; the message says what to do."""


def activation_ranges(model: onnx.ModelProto, batches: Iterable[NDArray[np.float32]]) -> dict[str, tuple[float, float]]:
    """Least and largest value of every activation that ``quantise`` asks for, 0 always included.

    Args:
        model: a float32 network with one image input.
        batches: images (batch, C, H, W) float32, standing for those it will meet.
    """
    names = sorted(_activations(model.graph))
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {value.name for value in watched.graph.output} | {value.name for value in watched.graph.input}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in known]
    watched.graph.output.extend(outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    [image_input] = session.get_inputs()
    produced = [name for name in names if name != image_input.name]
    ranges = dict.fromkeys(names, (0.0, 0.0))
    for images in batches:
        values = {}
        if produced:  # an empty list would mean all outputs
            values = dict(zip(produced, session.run(produced, {image_input.name: images}), strict=True))
        values[image_input.name] = images
        for name in names:
            least, most = ranges[name]
            ranges[name] = min(least, float(values[name].min())), max(most, float(values[name].max()))
    return ranges


def quantise(model: onnx.ModelProto, ranges: Ranges, *, reduce_range: bool = False) -> onnx.ModelProto:
    """The same network with integer convolutions, linear layers, additions, products and global poolings.

    Args:
        model: a float32 network; one that is quantised already, or holds no convolution and no linear layer with
            constant weights, comes back as it is.
        ranges: of ``activation_ranges``.
        reduce_range: 7 bits for weights, for CPUs whose 16-bit sums of 8-bit products overflow (AVX2 without VNNI).
    Raises: CannotQuantise: an opset below 13.
    """
    graph = model.graph
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return model
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < LEAST_OPSET:
        raise CannotQuantise(f"opset {opset}, expected {LEAST_OPSET} or later; export the model again")
    writer = _Writer(graph, ranges, 63 if reduce_range else 127)
    if not any(writer.is_integer(node) and node.op_type in _WEIGHTED for node in graph.node):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.graph.CopyFrom(writer.written())
    return result


def _initialisers(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in graph.initializer}


def _is_integer(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], fixed: set[str]) -> bool:
    """Whether a node will run on integers: its weights are constant, all its other inputs are activations."""
    if node.op_type not in INTEGER_OPS:
        return False
    if node.op_type in _WEIGHTED:
        return node.input[0] not in fixed and all(name in constants for name in node.input[1:] if name)
    return not any(name in fixed for name in node.input)


def _activations(graph: onnx.GraphProto) -> set[str]:
    """What integer nodes read and write, but for logits, which stay float."""
    constants = _initialisers(graph)
    fixed = set(constants) | {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    integer = [node for node in graph.node if _is_integer(node, constants, fixed)]
    read = {name for node in integer for name in node.input if name and name not in fixed}
    written = {node.output[0] for node in integer if node.op_type != "Gemm"}
    return read | written


class _Writer:
    """The quantised graph under construction."""

    def __init__(self, graph: onnx.GraphProto, ranges: Ranges, most_weight: int) -> None:
        self._graph = graph
        self._ranges = ranges
        self._most_weight = most_weight
        self._constants = _initialisers(graph)
        self._fixed = set(self._constants) | {
            n for node in graph.node if node.op_type == "Constant" for n in node.output
        }
        self._outputs = {value.name for value in graph.output}
        self._integer = _activations(graph)
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, onnx.TensorProto] = {}
        self._dropped = self._needless_relus()

    def is_integer(self, node: onnx.NodeProto) -> bool:
        """Whether a node will run on integers."""
        return _is_integer(node, self._constants, self._fixed)

    def written(self) -> onnx.GraphProto:
        """All nodes with the rounding between them."""
        for value in self._graph.input:
            self._round(value.name)
        for node in self._graph.node:
            if node.output[0] in self._dropped.values():
                continue  # a ReLU: its input was written under its name
            self._append(node)
            for name in node.output:
                self._round(self._dropped.get(name, name))
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for name, tensor in self._constants.items() if name in used and name not in self._tensors]
        return helper.make_graph(
            self._nodes, self._graph.name, self._graph.input, self._graph.output, [*kept, *self._tensors.values()]
        )

    def _needless_relus(self) -> dict[str, str]:
        """Output of an integer node -> output of the ReLU that alone reads it."""
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self._graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        found: dict[str, str] = {}
        for node in self._graph.node:
            after = readers.get(node.output[0], [])
            alone = self.is_integer(node) and len(after) == 1 and node.output[0] not in self._outputs
            if alone and self._begins_at_zero(after[0]) and after[0].output[0] in self._integer:
                found[node.output[0]] = after[0].output[0]
        return found

    def _begins_at_zero(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "Relu":
            return True
        bounds = [self._constants[name] for name in node.input[1:] if name in self._constants]
        return node.op_type == "Clip" and len(bounds) == 2 and float(numpy_helper.to_array(bounds[0])) == 0

    def _append(self, node: onnx.NodeProto) -> None:
        """The node on rounded inputs, its weights as integers."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self._rounded(name) for name in node.input]
        if self.is_integer(node) and node.op_type in _WEIGHTED:
            self._write_weights(node, copy)
        outputs = [self._dropped.get(name, name) for name in node.output]
        copy.output[:] = [f"{n}_float" if n in self._outputs and n in self._integer else n for n in outputs]
        self._nodes.append(copy)

    def _rounded(self, name: str) -> str:
        return name if name not in self._integer or name in self._outputs else f"{name}_rounded"

    def _round(self, name: str) -> None:
        """Write the rounding of an activation that integer nodes read or write."""
        if name not in self._integer:
            return
        scale, zero = _affine(*self._ranges[name])
        constants = [
            self._constant(f"{name}_scale", np.float32(scale)),
            self._constant(f"{name}_zero", np.uint8(zero)),
        ]
        is_output = name in self._outputs
        exact, rounded = (f"{name}_float", name) if is_output else (name, f"{name}_rounded")
        self._nodes.append(helper.make_node("QuantizeLinear", [exact, *constants], [f"{name}_uint8"], f"{name}_q"))
        self._nodes.append(helper.make_node("DequantizeLinear", [f"{name}_uint8", *constants], [rounded], f"{name}_dq"))

    def _write_weights(self, node: onnx.NodeProto, copy: onnx.NodeProto) -> None:
        """Weights and bias as integers with a scale for each output channel."""
        axis = 0 if node.op_type == "Conv" or _transposed(node) else 1
        weight = numpy_helper.to_array(self._constants[node.input[1]]).astype(np.float64)
        others = tuple(i for i in range(weight.ndim) if i != axis)
        scales = np.maximum(np.abs(weight).max(axis=others) / self._most_weight, 1e-12)
        shaped = scales.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
        integers = np.clip(np.rint(weight / shaped), -self._most_weight, self._most_weight).astype(np.int8)
        copy.input[1] = self._from_integers(node.input[1], integers, scales, axis)
        if len(node.input) > 2 and node.input[2]:
            bias_scales = scales * _affine(*self._ranges[node.input[0]])[0]
            bias = numpy_helper.to_array(self._constants[node.input[2]]).astype(np.float64)
            limits = np.iinfo(np.int32)
            rounded = np.clip(np.rint(bias / bias_scales), limits.min, limits.max).astype(np.int32)
            copy.input[2] = self._from_integers(f"{node.input[2]}_of_{node.output[0]}", rounded, bias_scales, 0)

    def _from_integers(
        self, name: str, integers: NDArray[np.int8] | NDArray[np.int32], scales: NDArray[np.float64], axis: int
    ) -> str:
        """Write integers and their meaning; return the name of the float tensor."""
        rounded = f"{name}_rounded"
        if f"{name}_integers" not in self._tensors:  # two nodes may share weights
            inputs = [
                self._constant(f"{name}_integers", integers),
                self._constant(f"{name}_scales", scales.astype(np.float32)),
                self._constant(f"{name}_zeros", np.zeros(scales.shape, integers.dtype)),
            ]
            self._nodes.append(helper.make_node("DequantizeLinear", inputs, [rounded], f"{name}_dq", axis=axis))
        return rounded

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        self._tensors[name] = numpy_helper.from_array(np.asarray(value), name)
        return name


def _affine(least: float, most: float) -> tuple[float, int]:
    """Scale and zero point of an unsigned byte that spans the range, with 0 exactly on one of its steps."""
    scale = (most - least) / _UINT8
    if scale < 1e-12:
        return 1.0, 0
    return float(np.float32(scale)), round(-least / scale)


def _transposed(gemm: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i == 1 for attribute in gemm.attribute)
