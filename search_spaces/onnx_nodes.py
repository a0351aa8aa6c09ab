"""Which ONNX nodes compute each operation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.layers import (
    ADD,
    ATTENTION,
    AVG_POOL,
    CONCAT,
    CONV,
    GELU,
    GLOBAL_POOL,
    HARD_SIGMOID,
    HARD_SWISH,
    LAYER_NORM,
    LINEAR,
    MAX_POOL,
    MUL,
    NORM,
    NORM_EPS,
    POSITION,
    RELU,
    RELU6,
    SIGMOID,
    SILU,
    SUM,
    ZERO,
    Layer,
)

if TYPE_CHECKING:
    from search_spaces.onnx_graph import Graph

Writer = Callable[["Graph", int], None]  # appends the nodes of the layer at a position


def _write_conv(graph: Graph, at: int) -> None:
    layer = graph.layers[at]
    weight, bias = graph.convolution(at)
    tensors = [graph.tensor(f"{layer.name}.weight", weight)]
    if bias is not None:
        tensors.append(graph.tensor(f"{layer.name}.bias", bias))
    graph.node(
        "Conv",
        at,
        *tensors,
        kernel_shape=[layer.kernel] * 2,
        strides=[layer.stride] * 2,
        pads=[layer.padding] * 4,
        group=layer.groups,
    )


def _write_norm(graph: Graph, at: int) -> None:
    layer = graph.layers[at]
    leaves = ("weight", "bias", "running_mean", "running_var")
    tensors = [graph.tensor(f"{layer.name}.{x}", graph.weight(layer, x, (layer.channels,))) for x in leaves]
    graph.node("BatchNormalization", at, *tensors, epsilon=NORM_EPS)


def _write_linear(graph: Graph, at: int) -> None:
    layer = graph.layers[at]
    weight = graph.weight(layer, "weight", (layer.channels, layer.in_channels))
    bias = graph.weight(layer, "bias", (layer.channels,))
    flat = graph.step("Flatten", [graph.names[layer.inputs[0]]], f"{layer.name}.flat", axis=1)
    tensors = [graph.tensor(f"{layer.name}.weight", weight), graph.tensor(f"{layer.name}.bias", bias)]
    graph.step("Gemm", [flat, *tensors], graph.names[at], transB=1)


def _plain(op: str, **attributes: object) -> Writer:
    return lambda graph, at: graph.node(op, at, **attributes)


def _write_average_pool(graph: Graph, at: int) -> None:
    layer = graph.layers[at]
    extra = [ceil_padding(side, layer) for side in layer.in_shape[1:]]
    graph.node(
        "AveragePool",
        at,
        kernel_shape=[layer.kernel] * 2,
        strides=[layer.stride] * 2,
        pads=[layer.padding] * 2 + [layer.padding + more for more in extra],
        count_include_pad=0,
    )


def ceil_padding(side: int, layer: Layer) -> int:
    """Further padding behind the last row, so that a window begins on it: what PyTorch calls ceil mode."""
    outputs = -(-side // layer.stride)
    return max(0, (outputs - 1) * layer.stride + layer.kernel - side - 2 * layer.padding)


def _write_relu6(graph: Graph, at: int) -> None:
    name = graph.layers[at].name
    graph.node("Clip", at, graph.tensor(f"{name}.least", np.float32(0)), graph.tensor(f"{name}.most", np.float32(6)))


def _write_silu(graph: Graph, at: int) -> None:
    gate = f"{graph.layers[at].name}.gate"
    graph.step("Sigmoid", [graph.names[graph.layers[at].inputs[0]]], gate)
    graph.node("Mul", at, gate)


def _write_gelu(graph: Graph, at: int) -> None:
    """X (1 + erf(x / sqrt 2)) / 2, as this opset has no operator for it."""
    name, x = graph.layers[at].name, graph.names[graph.layers[at].inputs[0]]
    constants = {"root": math.sqrt(0.5), "one": 1.0, "half": 0.5}
    root, one, half = (graph.tensor(f"{name}.{key}", np.float32(value)) for key, value in constants.items())
    scaled = graph.step("Mul", [x, root], f"{name}.scaled")
    erf = graph.step("Erf", [scaled], f"{name}.erf")
    above = graph.step("Add", [erf, one], f"{name}.above")
    graph.step("Mul", [above, half], f"{name}.share")
    graph.node("Mul", at, f"{name}.share")


def _write_zero(graph: Graph, at: int) -> None:
    """X 0, or a convolution with weights of zero where the shape changes, as the batch may be of any size."""
    layer = graph.layers[at]
    name = f"{layer.name}.zero"
    if layer.shape == layer.in_shape:
        graph.node("Mul", at, graph.tensor(name, np.float32(0)))
        return
    weight = graph.tensor(name, np.zeros((layer.channels, layer.in_channels, 1, 1), np.float32))
    graph.node("Conv", at, weight, kernel_shape=[1, 1], strides=[layer.stride] * 2)


def _write_sum(graph: Graph, at: int) -> None:
    graph.node("Sum" if len(graph.layers[at].inputs) > 1 else "Identity", at)


def _write_layer_norm(graph: Graph, at: int) -> None:
    """Channels last, normalised over them, and back."""
    layer = graph.layers[at]
    scale, shift = (
        graph.tensor(f"{layer.name}.{x}", graph.weight(layer, x, (layer.channels,))) for x in ("weight", "bias")
    )
    last = graph.step("Transpose", [graph.names[layer.inputs[0]]], f"{layer.name}.last", perm=[0, 2, 3, 1])
    normed = graph.step("LayerNormalization", [last, scale, shift], f"{layer.name}.normed", axis=-1, epsilon=NORM_EPS)
    graph.step("Transpose", [normed], graph.names[at], perm=[0, 3, 1, 2])


def _write_max_pool(graph: Graph, at: int) -> None:
    layer = graph.layers[at]
    sides = {"kernel_shape": [layer.kernel] * 2, "strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
    graph.node("MaxPool", at, **sides)


def _write_position(graph: Graph, at: int) -> None:
    layer = graph.layers[at]
    table = graph.weight(layer, "weight", (layer.channels, layer.kernel, layer.kernel))
    name = graph.tensor(f"{layer.name}.table", table[None])
    if layer.shape[1:] != (layer.kernel, layer.kernel):
        sizes = graph.integers(f"{layer.name}.sizes", [1, *layer.shape])
        resized = f"{layer.name}.resized"
        name = graph.step("Resize", [name, "", "", sizes], resized, mode="linear")
    graph.node("Add", at, name)


def _write_attention(graph: Graph, at: int) -> None:
    """Softmax(Q K^T / sqrt d) V on (batch, heads, width, positions)."""
    layer = graph.layers[at]
    name, heads = layer.name, layer.groups
    positions = layer.shape[1] * layer.shape[2]
    split = graph.integers(f"{name}.split", [0, heads, -1, positions])
    queries, keys, values = (
        graph.step("Reshape", [graph.names[i], split], f"{name}.{part}")
        for i, part in zip(layer.inputs, ("queries", "keys", "values"), strict=True)
    )
    root = graph.tensor(f"{name}.root", np.float32(1 / math.sqrt(layer.in_channels // heads)))
    scaled = graph.step("Mul", [queries, root], f"{name}.scaled")
    turned = graph.step("Transpose", [keys], f"{name}.turned", perm=[0, 1, 3, 2])
    logits = graph.step("MatMul", [turned, scaled], f"{name}.logits")  # (batch, heads, key, query)
    weights = graph.step("Softmax", [logits], f"{name}.weights", axis=2)
    mixed = graph.step("MatMul", [values, weights], f"{name}.mixed")
    joined = graph.integers(f"{name}.join", [0, *layer.shape])
    graph.step("Reshape", [mixed, joined], graph.names[at])


WRITERS: dict[str, Writer] = {
    CONV: _write_conv,
    NORM: _write_norm,
    LAYER_NORM: _write_layer_norm,
    LINEAR: _write_linear,
    RELU: _plain("Relu"),
    RELU6: _write_relu6,
    HARD_SWISH: _plain("HardSwish"),
    SILU: _write_silu,
    GELU: _write_gelu,
    SIGMOID: _plain("Sigmoid"),
    HARD_SIGMOID: _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    ADD: _plain("Add"),
    SUM: _write_sum,
    MUL: _plain("Mul"),
    ZERO: _write_zero,
    AVG_POOL: _write_average_pool,
    MAX_POOL: _write_max_pool,
    CONCAT: _plain("Concat", axis=1),
    GLOBAL_POOL: _plain("GlobalAveragePool"),
    POSITION: _write_position,
    ATTENTION: _write_attention,
}
