"""Layers -> ONNX, written directly: milliseconds a network where tracing takes seconds, and no torch.

The graph is that of inference: every norm that follows a convolution is folded into its weights, so runtimes
have nothing left to fold and the file holds no statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from search_spaces.layers import CONV, INPUT, LINEAR, NORM, NORM_EPS, Layer, Shape
from search_spaces.onnx_nodes import WRITERS

Weights = Mapping[str, NDArray[np.float32]]

OPSET = 17
IR_VERSION = 8
INPUT_NAME = "images"
OUTPUT_NAME = "logits"


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
    graph = Graph(layers, weights)
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


class Graph:
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
        WRITERS[layer.op](self, at)

    def node(self, op: str, at: int, *tensors: str, **attributes: object) -> None:
        """Append the node that computes layer ``at`` from its inputs and the named tensors."""
        inputs = [self.names[i] for i in self.layers[at].inputs]
        self.nodes.append(
            helper.make_node(op, [*inputs, *tensors], [self.names[at]], self.layers[at].name, **attributes)
        )

    def step(self, op: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        """Append a node between named values and return the name of its output."""
        self.nodes.append(helper.make_node(op, list(inputs), [output], output, **attributes))
        return output

    def tensor(self, name: str, value: NDArray[np.float32] | np.float32) -> str:
        """Store a constant and return its name."""
        self.tensors.append(numpy_helper.from_array(np.asarray(value, np.float32, order="C"), name))
        return name

    def integers(self, name: str, values: Sequence[int]) -> str:
        """Store a constant shape and return its name."""
        self.tensors.append(numpy_helper.from_array(np.array(values, np.int64), name))
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

    def convolution(self, at: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Weight (channels, in / groups, k, k) and bias of the convolution there, its norm taken in."""
        layer = self.layers[at]
        taps = (layer.in_channels // layer.groups, layer.kernel, layer.kernel)
        weight = self.weight(layer, "weight", (layer.channels, *taps))
        bias = self.weight(layer, "bias", (layer.channels,)) if layer.bias else None
        if (norm := self.norm_after.get(at)) is None:
            return weight, bias
        scale, shift = self.scale_and_shift(self.layers[norm])
        return weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift

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
