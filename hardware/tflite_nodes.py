"""Which TFLite operators compute each operation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import tflite

from hardware.folded_network import FoldedNetwork, Step, is_depthwise, resized
from hardware.tflite_graph import Options, TfliteGraph
from search_spaces import layers as op
from search_spaces.layers import Layer
from search_spaces.onnx_nodes import ceil_padding

# Appends the operators of a step on its inputs and returns the position of the output.
Writer = Callable[[TfliteGraph, FoldedNetwork, Step, Sequence[int]], int]

_ACTIVATIONS = {
    "": tflite.ActivationFunctionType.NONE,
    op.RELU: tflite.ActivationFunctionType.RELU,
    op.RELU6: tflite.ActivationFunctionType.RELU6,
}


def _map(graph: TfliteGraph, layer: Layer) -> tuple[int, ...]:
    channels, height, width = layer.shape
    return graph.batch, height, width, channels


def _windows(graph: TfliteGraph, layer: Layer, x: int, beside: float = 0.0) -> tuple[int, dict[str, int]]:
    """The input, padded by hand where TFLite's own padding would be one-sided, and the options of the window."""
    options = {"StrideW": layer.stride, "StrideH": layer.stride, "Padding": tflite.Padding.SAME}
    symmetric = layer.stride == 1 or (layer.stride == 2 and all(side % 2 for side in layer.in_shape[1:]))
    if layer.padding and layer.kernel % 2 and symmetric:
        return x, options
    options["Padding"] = tflite.Padding.VALID
    return _padded(graph, x, [(layer.padding, layer.padding)] * 2, beside), options


def _padded(graph: TfliteGraph, x: int, sides: Sequence[tuple[int, int]], value: float = 0.0) -> int:
    if not any(map(any, sides)):
        return x
    paddings = [(0, 0), *sides, (0, 0)]
    shape = [size + before + after for size, (before, after) in zip(graph.shapes[x], paddings, strict=True)]
    inputs = [x, graph.constant("paddings", np.array(paddings))]
    if value == 0.0:
        return graph.op("PAD", inputs, shape, ("PadOptions", {}))
    return graph.op("PADV2", [*inputs, graph.constant("beside", value)], shape, ("PadV2Options", {}))


def _write_conv(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    layer = step.layer
    weight, bias = network.convolution(step)
    x, options = _windows(graph, layer, inputs[0])
    options["FusedActivationFunction"] = _ACTIVATIONS[step.activation]
    code, kind = "CONV_2D", "Conv2DOptions"
    if is_depthwise(layer):
        code, kind = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
        options["DepthMultiplier"] = layer.channels // layer.in_channels
        kernel = weight.transpose(1, 2, 3, 0)
    else:
        kernel = weight.transpose(0, 2, 3, 1)
    tensors = [graph.constant(f"{layer.name}.weight", kernel), graph.constant(f"{layer.name}.bias", bias)]
    return graph.op(code, [x, *tensors], _map(graph, layer), (kind, options))


def _write_linear(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    layer = step.layer
    weight = network.weight(layer, "weight", (layer.channels, layer.in_channels))
    bias = network.weight(layer, "bias", (layer.channels,))
    tensors = [graph.constant(f"{layer.name}.weight", weight), graph.constant(f"{layer.name}.bias", bias)]
    options = {"FusedActivationFunction": _ACTIVATIONS[step.activation]}
    shape = (graph.batch, layer.channels)
    return graph.op("FULLY_CONNECTED", [inputs[0], *tensors], shape, ("FullyConnectedOptions", options))


def _plain(code: str, options: Options | None = None) -> Writer:
    return lambda graph, network, step, inputs: graph.op(code, inputs, _map(graph, step.layer), options)


def _binary(graph: TfliteGraph, code: str, a: int, b: int, activation: str = "") -> int:
    """ADD, SUB or MUL with broadcasting."""
    shape = np.broadcast_shapes(graph.shapes[a], graph.shapes[b])
    options = {"FusedActivationFunction": _ACTIVATIONS[activation]}
    return graph.op(code, [a, b], shape, (f"{code.capitalize()}Options", options))


def _write_sum(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    total = inputs[0]
    for at, value in enumerate(inputs[1:], 2):
        total = _binary(graph, "ADD", total, value, step.activation if at == len(inputs) else "")
    if len(inputs) == 1 and step.activation:
        return graph.op(step.activation.upper(), [total], _map(graph, step.layer))
    return total


def _write_norm(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    scale, shift = network.scale_and_shift(step.layer)
    scaled = _binary(graph, "MUL", inputs[0], graph.constant("scale", scale))
    return _binary(graph, "ADD", scaled, graph.constant("shift", shift))


def _write_layer_norm(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    layer, x = step.layer, inputs[0]
    mean = _mean(graph, x, (3,))
    spread = graph.op("SQUARED_DIFFERENCE", [x, mean], graph.shapes[x], ("SquaredDifferenceOptions", {}))
    variance = _binary(graph, "ADD", _mean(graph, spread, (3,)), graph.constant("eps", op.NORM_EPS))
    inverse = graph.op("RSQRT", [variance], graph.shapes[variance])
    normed = _binary(graph, "MUL", _binary(graph, "SUB", x, mean), inverse)
    gain, shift = (graph.constant(leaf, network.weight(layer, leaf, (layer.channels,))) for leaf in ("weight", "bias"))
    return _binary(graph, "ADD", _binary(graph, "MUL", normed, gain), shift)


def _mean(graph: TfliteGraph, x: int, axes: tuple[int, ...]) -> int:
    shape = [1 if axis in axes else size for axis, size in enumerate(graph.shapes[x])]
    return graph.op("MEAN", [x, graph.constant("axes", np.array(axes))], shape, ("ReducerOptions", {"KeepDims": True}))


def _write_global_pool(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    return _mean(graph, inputs[0], (1, 2))


def _write_hard_sigmoid(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    raised = _binary(graph, "ADD", inputs[0], graph.constant("three", 3.0), op.RELU6)
    return _binary(graph, "MUL", raised, graph.constant("sixth", 1 / 6))


def _write_silu(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    return _binary(graph, "MUL", inputs[0], graph.op("LOGISTIC", inputs, graph.shapes[inputs[0]]))


def _write_mul(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    return _binary(graph, "MUL", inputs[0], inputs[1])


def _write_zero(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    return graph.constant(step.layer.name, np.zeros(_map(graph, step.layer), np.float32))


def _write_average_pool(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    """Mean of the taps inside the map: TFLite's own with its padding, else corrected for the zeros beside it."""
    layer = step.layer
    window = {"FilterWidth": layer.kernel, "FilterHeight": layer.kernel}
    after = [layer.padding + ceil_padding(side, layer) for side in layer.in_shape[1:]]
    symmetric = layer.stride == 1 and layer.kernel % 2 == 1
    sides = [(0, 0)] * 2 if symmetric else [(layer.padding, more) for more in after]
    padding = tflite.Padding.SAME if symmetric else tflite.Padding.VALID
    options = window | {"StrideW": layer.stride, "StrideH": layer.stride, "Padding": padding}
    x = _padded(graph, inputs[0], sides)
    pooled = graph.op("AVERAGE_POOL_2D", [x], _map(graph, layer), ("Pool2DOptions", options))
    if x == inputs[0]:
        return pooled
    rows, columns = (
        np.array(_taps_inside(side, size, layer))
        for side, size in zip(layer.in_shape[1:], layer.shape[1:], strict=True)
    )
    share = layer.kernel**2 / np.outer(rows, columns)
    return _binary(graph, "MUL", pooled, graph.constant("share", share[None, :, :, None]))


def _write_max_pool(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    layer = step.layer
    x, options = _windows(graph, layer, inputs[0], beside=float(np.finfo(np.float32).min))
    options |= {"FilterWidth": layer.kernel, "FilterHeight": layer.kernel}
    return graph.op("MAX_POOL_2D", [x], _map(graph, layer), ("Pool2DOptions", options))


def _write_concat(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    return graph.op("CONCATENATION", inputs, _map(graph, step.layer), ("ConcatenationOptions", {"Axis": 3}))


def _taps_inside(side: int, size: int, layer: Layer) -> list[int]:
    starts = [at * layer.stride - layer.padding for at in range(size)]
    return [min(start + layer.kernel, side) - max(start, 0) for start in starts]


def _write_position(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    layer = step.layer
    table = network.weight(layer, "weight", (layer.channels, layer.kernel, layer.kernel))
    fitted = resized(table, *layer.shape[1:]).transpose(1, 2, 0)[None]
    return _binary(graph, "ADD", inputs[0], graph.constant(f"{layer.name}.table", fitted))


def _write_attention(graph: TfliteGraph, network: FoldedNetwork, step: Step, inputs: Sequence[int]) -> int:
    """Softmax(Q K^T / sqrt d) V on (batch, heads, positions, width)."""
    layer = step.layer
    heads, positions = layer.groups, layer.shape[1] * layer.shape[2]
    queries, keys, values = (_by_head(graph, x, heads) for x in inputs)
    root = graph.constant("root", 1 / math.sqrt(layer.in_channels // heads))
    scaled = _binary(graph, "MUL", queries, root)
    square = (graph.batch, heads, positions, positions)
    logits = graph.op("BATCH_MATMUL", [scaled, keys], square, ("BatchMatMulOptions", {"AdjY": True}))
    weights = graph.op("SOFTMAX", [logits], square, ("SoftmaxOptions", {"Beta": 1.0}))
    mixed = graph.op("BATCH_MATMUL", [weights, values], graph.shapes[values], ("BatchMatMulOptions", {}))
    return _reshaped(graph, _swapped(graph, mixed), _map(graph, layer))


def _by_head(graph: TfliteGraph, x: int, heads: int) -> int:
    _, height, width, channels = graph.shapes[x]
    return _swapped(graph, _reshaped(graph, x, (graph.batch, height * width, heads, channels // heads)))


def _swapped(graph: TfliteGraph, x: int) -> int:
    """Its second and third axis exchanged."""
    order = (0, 2, 1, 3)
    shape = [graph.shapes[x][axis] for axis in order]
    return graph.op("TRANSPOSE", [x, graph.constant("order", np.array(order))], shape, ("TransposeOptions", {}))


def _reshaped(graph: TfliteGraph, x: int, shape: Sequence[int]) -> int:
    return graph.op("RESHAPE", [x, graph.constant("shape", np.array(shape))], shape, ("ReshapeOptions", {}))


WRITERS: dict[str, Writer] = {
    op.CONV: _write_conv,
    op.NORM: _write_norm,
    op.LAYER_NORM: _write_layer_norm,
    op.LINEAR: _write_linear,
    op.RELU: _plain("RELU"),
    op.RELU6: _plain("RELU6"),
    op.HARD_SWISH: _plain("HARD_SWISH", ("HardSwishOptions", {})),
    op.SILU: _write_silu,
    op.GELU: _plain("GELU", ("GeluOptions", {"Approximate": False})),
    op.SIGMOID: _plain("LOGISTIC"),
    op.HARD_SIGMOID: _write_hard_sigmoid,
    op.ADD: _write_sum,
    op.SUM: _write_sum,
    op.MUL: _write_mul,
    op.ZERO: _write_zero,
    op.CONCAT: _write_concat,
    op.MAX_POOL: _write_max_pool,
    op.AVG_POOL: _write_average_pool,
    op.GLOBAL_POOL: _write_global_pool,
    op.POSITION: _write_position,
    op.ATTENTION: _write_attention,
}
