"""A network as runtimes with kernels of their own take it: norms and activations inside the kernel before them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.layers import Layer
from search_spaces.onnx_graph import Graph, Weights


class UncoveredLayer(ValueError):
    """A layer's operation cannot be written in a format; the message names the layer."""


class Step(NamedTuple):
    """One kernel.

    Attributes:
        at: position of the layer that computes.
        layer: that layer.
        output: position of the layer whose value comes out: itself, or the norm or activation that it took in.
        activation: op of the activation that it took in; "" if none.
    """

    at: int
    layer: Layer
    output: int
    activation: str


class FoldedNetwork:
    """Steps and their weights.

    Args:
        layers: of ``expand``; the last one is the output.
        weights: named as in a state dict.
        fused: by op, the activations that its kernel computes on the way out.
    """

    def __init__(self, layers: Sequence[Layer], weights: Weights, fused: Mapping[str, Collection[str]]) -> None:
        self.layers = layers
        self._graph = Graph(layers, weights)
        self._fused = fused
        self._readers: dict[int, list[int]] = {}
        for at, layer in enumerate(layers):
            for i in layer.inputs:
                self._readers.setdefault(i, []).append(at)

    def steps(self) -> list[Step]:
        """All kernels in execution order."""
        taken = set(self._graph.folded)
        found = []
        for at, layer in enumerate(self.layers):
            if at in taken:
                continue
            output, activation = self._graph.norm_after.get(at, at), ""
            readers = self._readers.get(output, [])
            if len(readers) == 1 and self.layers[readers[0]].op in self._fused.get(layer.op, ()):
                [output] = readers
                activation = self.layers[output].op
                taken.add(output)
            found.append(Step(at, layer, output, activation))
        return found

    def readers(self, at: int) -> int:
        """How many layers read the value there; the network's output counts as one."""
        return len(self._readers.get(at, [])) + (at == len(self.layers) - 1)

    def convolution(self, step: Step) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weight (channels, in / groups, k, k) and bias (channels,), with the norm taken in."""
        weight, bias = self._graph.convolution(step.at)
        return weight, np.zeros(step.layer.channels, np.float32) if bias is None else bias

    def scale_and_shift(self, norm: Layer) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A norm that stands alone: y = scale * x + shift per channel."""
        return self._graph.scale_and_shift(norm)

    def weight(self, layer: Layer, leaf: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The layer's tensor, checked."""
        return self._graph.weight(layer, leaf, shape)


def check_covered(layers: Sequence[Layer], covered: Collection[str], format_: str) -> None:
    """Raise UncoveredLayer for the first layer whose operation is not among those that a format's writer knows."""
    for layer in layers:
        if layer.op not in covered:
            raise UncoveredLayer(f"layer {layer.name!r} is {layer.op}, which is not written into {format_} files")


def resized(table: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """A table (C, side, side) of positions, bilinearly, corners not aligned, as PyTorch's ``interpolate``."""
    for axis, size in ((1, height), (2, width)):
        have = table.shape[axis]
        if have == size:
            continue
        place = np.clip((np.arange(size) + 0.5) * have / size - 0.5, 0, have - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, have - 1)
        share = (place - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        table = np.take(table, low, axis) * (1 - share) + np.take(table, high, axis) * share
    return table.astype(np.float32)


def is_depthwise(layer: Layer) -> bool:
    """Whether every input channel is a group of its own."""
    return layer.groups == layer.in_channels and layer.groups > 1
