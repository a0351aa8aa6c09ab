"""Layers -> ONNX, written directly: milliseconds a network where tracing takes seconds, and no torch.

The graph is that of inference: every norm that follows a convolution is folded into its weights, so runtimes
have nothing left to fold and the file holds no statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from search_spaces.layers import (
    ADD,
    CONV,
    GLOBAL_POOL,
    INPUT,
    LINEAR,
    MUL,
    NORM,
    NORM_EPS,
    RELU,
    SIGMOID,
    Layer,
    Shape,
)

Weights = Mapping[str, NDArray[np.float32]]

OPSET = 17
IR_VERSION = 8
INPUT_NAME = "images"
OUTPUT_NAME = "logits"
_BUFFER_SIZE = 1_000_003  # prime: layers that reuse the buffer do not line up
_RESIDUAL_GAIN = 0.2  # scale of a norm that feeds an addition: deep stacks neither explode nor fade


class WeightsMismatch(ValueError):
    """A tensor that a layer needs is missing or has another shape."""


def onnx_model(
    layers: Sequence[Layer], weights: Weights, input_shape: Shape, *, batch: int | None = 1
) -> onnx.ModelProto:
    """The network as an ONNX model with input "images" and output "logits".

    Args:
        layers: of ``expand``, with or without classifier, or of one block; the last one is the output.
        weights: float32 tensors named like the state dict of ``search_spaces.build.build``.
        input_shape: (channels, height, width) of one image.
        batch: images per call; None leaves it open.
    Returns: (batch, classes) logits if the last layer is a classifier, else its map (batch, C, H, W).
    Raises: WeightsMismatch.
    """
    graph = _Graph(layers, weights)
    for at in range(len(layers)):
        graph.append(at)
    images = "batch" if batch is None else batch
    output = layers[-1]
    output_shape = output.shape[:1] if output.op == LINEAR else output.shape
    proto = helper.make_graph(
        graph.nodes,
        "network",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, [images, *input_shape])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, [images, *output_shape])],
        graph.tensors,
    )
    return helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="netwright",
    )


class _Graph:
    """Nodes and tensors under construction; ``names[at]`` is the value that layer ``at`` produces."""

    def __init__(self, layers: Sequence[Layer], weights: Weights) -> None:
        self.layers = layers
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.names = {INPUT: INPUT_NAME}
        self.norm_after = _foldable_norms(layers)
        self.folded = set(self.norm_after.values())

    def append(self, at: int) -> None:
        """Write one layer, or point at its input if it is a norm that its convolution took in."""
        layer = self.layers[at]
        if at in self.folded:
            self.names[at] = self.names[layer.inputs[0]]
            return
        last = len(self.layers) - 1
        is_output = at == last or self.norm_after.get(at) == last
        self.names[at] = OUTPUT_NAME if is_output else layer.name
        _WRITERS[layer.op](self, at)

    def node(self, op: str, at: int, *tensors: str, **attributes: object) -> None:
        """Append the node that computes layer ``at`` from its inputs and the named tensors."""
        inputs = [self.names[i] for i in self.layers[at].inputs]
        self.nodes.append(
            helper.make_node(op, [*inputs, *tensors], [self.names[at]], self.layers[at].name, **attributes)
        )

    def tensor(self, name: str, value: NDArray[np.float32]) -> str:
        """Store a constant and return its name."""
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def weight(self, layer: Layer, leaf: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The layer's tensor, checked."""
        name = f"{layer.name}.{leaf}"
        if name not in self.weights:
            raise WeightsMismatch(f"weights: {name!r} is missing, expected a tensor of shape {shape}")
        value = self.weights[name]
        if value.shape != shape:
            raise WeightsMismatch(f"weights: {name!r} has shape {value.shape}, expected {shape}")
        return value

    def scale_and_shift(self, norm: Layer) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The norm as y = scale * x + shift per channel."""
        leaves = ("weight", "bias", "running_mean", "running_var")
        gain, bias, mean, var = (self.weight(norm, leaf, (norm.channels,)) for leaf in leaves)
        scale = gain / np.sqrt(var + NORM_EPS)
        return scale, bias - mean * scale


def _foldable_norms(layers: Sequence[Layer]) -> dict[int, int]:
    """Position of a convolution -> position of the norm that is its only reader."""
    readers: dict[int, list[int]] = {}
    for at, layer in enumerate(layers):
        for i in layer.inputs:
            readers.setdefault(i, []).append(at)
    return {
        i: at[0]
        for i, at in readers.items()
        if i != INPUT and layers[i].op == CONV and len(at) == 1 and layers[at[0]].op == NORM
    }


def _write_conv(graph: _Graph, at: int) -> None:
    layer = graph.layers[at]
    taps = (layer.in_channels // layer.groups, layer.kernel, layer.kernel)
    weight = graph.weight(layer, "weight", (layer.channels, *taps))
    bias = graph.weight(layer, "bias", (layer.channels,)) if layer.bias else None
    norm = graph.norm_after.get(at)
    if norm is not None:
        scale, shift = graph.scale_and_shift(graph.layers[norm])
        weight = weight * scale[:, None, None, None]
        bias = shift if bias is None else bias * scale + shift
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


def _write_norm(graph: _Graph, at: int) -> None:
    layer = graph.layers[at]
    leaves = ("weight", "bias", "running_mean", "running_var")
    tensors = [graph.tensor(f"{layer.name}.{x}", graph.weight(layer, x, (layer.channels,))) for x in leaves]
    graph.node("BatchNormalization", at, *tensors, epsilon=NORM_EPS)


def _write_linear(graph: _Graph, at: int) -> None:
    layer = graph.layers[at]
    weight = graph.weight(layer, "weight", (layer.channels, layer.in_channels))
    bias = graph.weight(layer, "bias", (layer.channels,))
    flat = f"{layer.name}.flat"
    graph.nodes.append(helper.make_node("Flatten", [graph.names[layer.inputs[0]]], [flat], axis=1))
    tensors = [graph.tensor(f"{layer.name}.weight", weight), graph.tensor(f"{layer.name}.bias", bias)]
    graph.nodes.append(helper.make_node("Gemm", [flat, *tensors], [graph.names[at]], layer.name, transB=1))


def _plain(op: str) -> Callable[[_Graph, int], None]:
    return lambda graph, at: graph.node(op, at)


_WRITERS: dict[str, Callable[[_Graph, int], None]] = {
    CONV: _write_conv,
    NORM: _write_norm,
    LINEAR: _write_linear,
    RELU: _plain("Relu"),
    SIGMOID: _plain("Sigmoid"),
    ADD: _plain("Add"),
    MUL: _plain("Mul"),
    GLOBAL_POOL: _plain("GlobalAveragePool"),
}


def random_weights(layers: Sequence[Layer], seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights for timing: activations stay finite and of order one, whatever the depth.

    He initialisation over the fan-in; norms with statistics near (0, 1) and a small scale before additions.
    All tensors are cut from one random buffer, so a network costs about as much as copying its weights.
    """
    buffer = _normal_buffer(seed)
    offset = 0
    weights: dict[str, NDArray[np.float32]] = {}

    def draw(shape: tuple[int, ...], std: float, mean: float = 0.0) -> NDArray[np.float32]:
        nonlocal offset
        size = math.prod(shape)
        end = offset + size
        cut = buffer[offset:end] if end <= _BUFFER_SIZE else np.resize(np.roll(buffer, -offset), size)
        offset = end % _BUFFER_SIZE
        flat = cut * np.float32(std)
        flat += np.float32(mean)
        return flat.reshape(shape)

    before_add = {i for layer in layers if layer.op == ADD for i in layer.inputs[:1]}
    for at, layer in enumerate(layers):
        if layer.op == CONV:
            taps = (layer.in_channels // layer.groups, layer.kernel, layer.kernel)
            weights[f"{layer.name}.weight"] = draw((layer.channels, *taps), math.sqrt(2 / math.prod(taps)))
            if layer.bias:
                weights[f"{layer.name}.bias"] = draw((layer.channels,), 0.05)
        elif layer.op == NORM:
            gain = _RESIDUAL_GAIN if at in before_add else 1.0
            size = (layer.channels,)
            weights[f"{layer.name}.weight"] = draw(size, 0.1 * gain, gain)
            weights[f"{layer.name}.bias"] = draw(size, 0.05)
            weights[f"{layer.name}.running_mean"] = draw(size, 0.05)
            weights[f"{layer.name}.running_var"] = np.abs(draw(size, 0.1, 1.0))
        elif layer.op == LINEAR:
            fan_in = layer.in_channels
            weights[f"{layer.name}.weight"] = draw((layer.channels, fan_in), 1 / math.sqrt(fan_in))
            weights[f"{layer.name}.bias"] = draw((layer.channels,), 0.05)
    return weights


@lru_cache(maxsize=2)
def _normal_buffer(seed: int) -> NDArray[np.float32]:
    buffer = np.random.default_rng(seed).standard_normal(_BUFFER_SIZE, dtype=np.float32)
    buffer.flags.writeable = False
    return buffer
