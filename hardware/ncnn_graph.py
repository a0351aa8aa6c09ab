"""Layers -> ncnn's two files, ``.param`` (text) and ``.bin`` (weights), written directly; one image a call.

A pooled map is a vector to ncnn, and so are the gates that come from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hardware.folded_network import FoldedNetwork, Step, check_covered, resized
from search_spaces import layers as op
from search_spaces.layers import INPUT, Layer, Shape
from search_spaces.onnx_graph import INPUT_NAME, OUTPUT_NAME, Weights

MAGIC = 7767517  # of the text format
_FUSED = {kind: (op.RELU, op.RELU6, op.HARD_SWISH) for kind in (op.CONV, op.LINEAR)}
_SIXTH, _HALF = f"{1 / 6:.9g}", "0.5"
_ACTIVATIONS: dict[str, dict[int, str]] = {  # parameters of a convolution or inner product
    "": {},
    op.RELU: {9: "1"},
    op.RELU6: {9: "3", -23310: "2,0.0,6.0"},
    op.HARD_SWISH: {9: "6", -23310: f"2,{_SIXTH},{_HALF}"},
}
_HARD = {0: _SIXTH, 1: _HALF}
_ADD, _MUL = "0", "2"  # kinds of BinaryOp
_CHANNELS_LAST, _CHANNELS_FIRST, _TURNED = "3", "4", "1"  # orders of Permute
Parameters = dict[int, str]


class NcnnModel(NamedTuple):
    """The content of both files."""

    param: str
    weights: bytes


def ncnn_model(layers: Sequence[Layer], weights: Weights, input_shape: Shape) -> NcnnModel:
    """The network for ncnn with norms and activations folded into the kernels before them.

    Args:
        layers: of ``expand``; the last one is the output.
        weights: float32 tensors named as in a state dict.
        input_shape: (channels, height, width) of the image.
    Returns: a model with input "images" and output "logits".
    Raises: UncoveredLayer, WeightsMismatch.
    """
    check_covered(layers, _WRITERS, "ncnn")
    network = FoldedNetwork(layers, weights, _FUSED)
    graph = NcnnGraph()
    channels, height, width = input_shape
    graph.layer("Input", [], {0: str(width), 1: str(height), 2: str(channels)}, outputs=[INPUT_NAME])
    graph.spread(INPUT, INPUT_NAME, network.readers(INPUT))
    for step in network.steps():
        value = _WRITERS[step.layer.op](graph, network, step, [graph.read(i) for i in step.layer.inputs])
        graph.spread(step.output, value, network.readers(step.output))
    graph.layer("Noop", [graph.read(len(layers) - 1)], outputs=[OUTPUT_NAME])
    return NcnnModel(graph.text(), b"".join(graph.weights))


class NcnnGraph:
    """Lines and weights under construction; ``vectors`` are the values without height and width.

    A value has one reader in ncnn; ``spread`` makes copies for several.
    """

    def __init__(self) -> None:
        self.weights: list[bytes] = []
        self._lines: list[str] = []
        self._blobs = 0
        self._copies: dict[int, list[str]] = {}
        self.vectors: set[str] = set()

    def layer(
        self,
        kind: str,
        inputs: Sequence[str],
        parameters: Parameters | None = None,
        outputs: Sequence[str] = (),
    ) -> str:
        """Append a layer; returns its first output."""
        outputs = outputs or [f"v{self._blobs}"]
        self._blobs += len(outputs)
        values = [f"{key}={value}" for key, value in (parameters or {}).items()]
        name = f"l{len(self._lines)}"
        counts = [str(len(inputs)), str(len(outputs))]
        self._lines.append(" ".join([kind, name, *counts, *inputs, *outputs, *values]))
        pools = kind == "Pooling" and 4 in (parameters or {})
        if kind == "InnerProduct" or pools or (inputs and kind != "Reshape" and self.vectors.issuperset(inputs)):
            self.vectors.update(outputs)
        return outputs[0]

    def tensor(self, values: NDArray[np.float32], *, tagged: bool = False) -> None:
        """Append weights of the layer that comes next, with the tag of float32 where ncnn expects one."""
        self.weights.append(bytes(4) * tagged + np.ascontiguousarray(values, np.float32).tobytes())

    def constant(self, values: NDArray[np.float32]) -> str:
        """A map (C, H, W) of constants."""
        channels, height, width = values.shape
        self.tensor(values)
        return self.layer("MemoryData", [], {0: str(width), 1: str(height), 2: str(channels)})

    def spread(self, at: int, value: str, readers: int) -> None:
        """The value of the layer at a position, for so many readers."""
        copies = [value]
        if readers > 1:
            copies = [f"{value}_{i}" for i in range(readers)]
            self.layer("Split", [value], outputs=copies)
        self._copies[at] = copies

    def read(self, at: int) -> str:
        """A copy of the value that nobody has read."""
        return self._copies[at].pop()

    def text(self) -> str:
        """The ``.param`` file."""
        return "\n".join([str(MAGIC), f"{len(self._lines)} {self._blobs}", *self._lines, ""])


Writer = Callable[[NcnnGraph, FoldedNetwork, Step, list[str]], str]


def _write_conv(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    layer = step.layer
    weight, bias = network.convolution(step)
    if inputs[0] in graph.vectors and layer.kernel == layer.groups == 1:
        return _inner_product(graph, weight, bias, step.activation, inputs)
    if inputs[0] in graph.vectors:
        inputs = [graph.layer("Reshape", inputs, {0: "1", 1: "1", 2: str(layer.in_channels)})]
    parameters = {0: layer.channels, 1: layer.kernel, 3: layer.stride, 4: layer.padding, 5: 1, 6: weight.size}
    texts = {key: str(value) for key, value in parameters.items()} | _ACTIVATIONS[step.activation]
    if layer.groups > 1:
        texts[7] = str(layer.groups)
    graph.tensor(weight, tagged=True)
    graph.tensor(bias)
    return graph.layer("ConvolutionDepthWise" if layer.groups > 1 else "Convolution", inputs, texts)


def _inner_product(
    graph: NcnnGraph, weight: NDArray[np.float32], bias: NDArray[np.float32], activation: str, inputs: list[str]
) -> str:
    graph.tensor(weight, tagged=True)
    graph.tensor(bias)
    texts = {0: str(len(bias)), 1: "1", 2: str(weight.size)} | _ACTIVATIONS[activation]
    return graph.layer("InnerProduct", inputs, texts)


def _write_linear(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    layer = step.layer
    weight = network.weight(layer, "weight", (layer.channels, layer.in_channels))
    bias = network.weight(layer, "bias", (layer.channels,))
    return _inner_product(graph, weight, bias, step.activation, inputs)


def _write_norm(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    for tensor in network.scale_and_shift(step.layer):
        graph.tensor(tensor)
    return graph.layer("Scale", inputs, {0: str(step.layer.channels), 1: "1"})


def _write_layer_norm(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    """Channels last, normalised over them, and back."""
    layer = step.layer
    last = graph.layer("Permute", inputs, {0: _CHANNELS_LAST})
    for leaf in ("weight", "bias"):
        graph.tensor(network.weight(layer, leaf, (layer.channels,)))
    normed = graph.layer("LayerNorm", [last], {0: str(layer.channels), 1: f"{op.NORM_EPS:.9g}", 2: "1"})
    return graph.layer("Permute", [normed], {0: _CHANNELS_FIRST})


def _plain(kind: str, parameters: Parameters | None = None) -> Writer:
    return lambda graph, network, step, inputs: graph.layer(kind, inputs, parameters)


def _write_sum(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    total = inputs[0]
    for value in inputs[1:]:
        total = graph.layer("BinaryOp", [total, value], {0: _ADD})
    return total


def _write_zero(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    graph.layer("Noop", inputs)  # ncnn wants every value read
    return graph.constant(np.zeros(step.layer.shape, np.float32))


def _write_max_pool(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    layer = step.layer
    texts = {0: "0", 1: str(layer.kernel), 2: str(layer.stride), 3: str(layer.padding), 5: "1"}
    return graph.layer("Pooling", inputs, texts)


def _write_concat(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    """Of maps, or of vectors; a vector beside a map becomes one."""
    if not graph.vectors.issuperset(inputs):
        sizes = [network.layers[i].channels for i in step.layer.inputs]
        shapes = [{0: "1", 1: "1", 2: str(size)} for size in sizes]
        inputs = [
            graph.layer("Reshape", [value], shape) if value in graph.vectors else value
            for value, shape in zip(inputs, shapes, strict=True)
        ]
    return graph.layer("Concat", inputs, {0: "0"})


def _write_average_pool(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    layer = step.layer
    mode = "0" if layer.kernel == layer.stride else "1"  # windows may reach beyond the map, or not
    texts = {0: "1", 1: str(layer.kernel), 2: str(layer.stride), 3: str(layer.padding), 5: mode, 6: "0"}
    return graph.layer("Pooling", inputs, texts)


def _write_global_pool(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    """A vector is pooled already; ncnn would take its mean."""
    return inputs[0] if inputs[0] in graph.vectors else graph.layer("Pooling", inputs, {0: "1", 4: "1"})


def _write_position(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    layer = step.layer
    table = network.weight(layer, "weight", (layer.channels, layer.kernel, layer.kernel))
    return graph.layer("BinaryOp", [*inputs, graph.constant(resized(table, *layer.shape[1:]))], {0: _ADD})


def _write_attention(graph: NcnnGraph, network: FoldedNetwork, step: Step, inputs: list[str]) -> str:
    """Softmax(Q K^T / sqrt d) V, one head a channel."""
    layer = step.layer
    channels, height, width = layer.shape
    positions = height * width
    by_head = {0: str(positions), 1: "-1", 2: str(layer.groups)}
    queries, keys, values = (graph.layer("Reshape", [x], by_head) for x in inputs)
    root = f"{1 / math.sqrt(layer.in_channels // layer.groups):.9g}"
    scaled = graph.layer("BinaryOp", [queries], {0: _MUL, 1: "1", 2: root})
    turned = graph.layer("Permute", [scaled], {0: _TURNED})
    logits = graph.layer("MatMul", [turned, keys])  # (heads, query, key)
    weights = graph.layer("Softmax", [logits], {0: "2", 1: "1"})
    mixed = graph.layer("MatMul", [values, weights], {0: "1"})  # the second one transposed
    return graph.layer("Reshape", [mixed], {0: str(width), 1: str(height), 2: str(channels)})


_WRITERS: dict[str, Writer] = {
    op.CONV: _write_conv,
    op.NORM: _write_norm,
    op.LAYER_NORM: _write_layer_norm,
    op.LINEAR: _write_linear,
    op.RELU: _plain("ReLU"),
    op.RELU6: _plain("Clip", {0: "0.0", 1: "6.0"}),
    op.HARD_SWISH: _plain("HardSwish", _HARD),
    op.SILU: _plain("Swish"),
    op.GELU: _plain("GELU"),
    op.SIGMOID: _plain("Sigmoid"),
    op.HARD_SIGMOID: _plain("HardSigmoid", _HARD),
    op.ADD: _write_sum,
    op.SUM: _write_sum,
    op.MUL: _plain("BinaryOp", {0: _MUL}),
    op.ZERO: _write_zero,
    op.CONCAT: _write_concat,
    op.MAX_POOL: _write_max_pool,
    op.AVG_POOL: _write_average_pool,
    op.GLOBAL_POOL: _write_global_pool,
    op.POSITION: _write_position,
    op.ATTENTION: _write_attention,
}
