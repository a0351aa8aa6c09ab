"""Layers under construction: what block kinds are written with."""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces.arch import InvalidArchitecture
from search_spaces.layers import (
    ADD,
    ATTENTION,
    AVG_POOL,
    CONV,
    GLOBAL_POOL,
    HARD_SIGMOID,
    INPUT,
    LAYER_NORM,
    LINEAR,
    MUL,
    NORM,
    POSITION,
    RELU,
    SIGMOID,
    SUM,
    ZERO,
    Layer,
    Shape,
    padding_of,
)


class LayerList:
    """Layers under construction: every method appends and returns the position of what it appended."""

    def __init__(self, in_shape: Shape) -> None:
        self.in_shape = in_shape
        self.layers: list[Layer] = []

    def shape(self, at: int) -> Shape:
        """(C, H, W) of the map at a position; INPUT is the block's input."""
        return self.in_shape if at == INPUT else self.layers[at].shape

    def _append(self, layer: Layer) -> int:
        self.layers.append(layer)
        return len(self.layers) - 1

    def conv(  # noqa: PLR0913 - the facts of a convolution
        self,
        at: int,
        name: str,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> int:
        """A convolution, padded by half its kernel; not at all where stride = kernel."""
        shape = c, h, w = self.shape(at)
        shrink = 2 * padding_of(kernel, stride) - kernel
        if min(h, w) < kernel == stride:
            raise InvalidArchitecture(
                f"{name}: {kernel}x{kernel} patches do not fit a map of {h}x{w}, "
                "expected smaller patches or larger images"
            )
        out = (channels, (h + shrink) // stride + 1, (w + shrink) // stride + 1)
        if c % groups or channels % groups:
            raise InvalidArchitecture(f"{name}: {groups} groups do not divide {c} and {channels} channels")
        return self._append(Layer(name, CONV, (at,), shape, out, kernel, stride, groups, bias))

    def norm(self, at: int, name: str) -> int:
        """Batch normalisation."""
        return self._simple(NORM, name, at)

    def layer_norm(self, at: int, name: str) -> int:
        """Normalisation over the channels of each position."""
        return self._simple(LAYER_NORM, name, at)

    def activation(self, at: int, name: str, op: str) -> int:
        """One of ``search_spaces.layers.ACTIVATIONS``."""
        return self._simple(op, name, at)

    def zero(self, at: int, name: str, channels: int | None = None, stride: int = 1) -> int:
        """A map of zeros, of the shape that a convolution with this stride would make of the map."""
        shape = c, h, w = self.shape(at)
        out = (channels or c, -(-h // stride), -(-w // stride))
        return self._append(Layer(name, ZERO, (at,), shape, out, stride=stride))

    def _simple(self, op: str, name: str, at: int) -> int:
        shape = self.shape(at)
        return self._append(Layer(name, op, (at,), shape, shape))

    def add(self, main: int, shortcut: int, name: str) -> int:
        """Residual addition; the first argument is the main path."""
        return self._join(ADD, (main, shortcut), name)

    def sum(self, inputs: Sequence[int], name: str) -> int:
        """The sum of two or more maps, none of which is the main path; the deepest comes first."""
        return self._join(SUM, tuple(inputs), name)

    def _join(self, op: str, inputs: tuple[int, ...], name: str) -> int:
        shape = self.shape(inputs[0])
        for other in inputs[1:]:
            if self.shape(other) != shape:
                raise InvalidArchitecture(f"{name}: cannot add {self.shape(other)} to {shape}")
        return self._append(Layer(name, op, inputs, shape, shape))

    def gate(self, at: int, gate: int, name: str) -> int:
        """Multiply a map (C, H, W) by a gate (C, 1, 1)."""
        shape = self.shape(at)
        return self._append(Layer(name, MUL, (at, gate), shape, shape))

    def average_pool(self, at: int, name: str, kernel: int, stride: int = 1) -> int:
        """Mean over a window, padded like a convolution's; what lies outside the map does not count."""
        shape = c, h, w = self.shape(at)
        out = (c, -(-h // stride), -(-w // stride))
        return self._append(Layer(name, AVG_POOL, (at,), shape, out, kernel, stride))

    def global_pool(self, at: int, name: str) -> int:
        """Mean over height and width."""
        shape = self.shape(at)
        return self._append(Layer(name, GLOBAL_POOL, (at,), shape, (shape[0], 1, 1)))

    def position(self, at: int, name: str, side: int) -> int:
        """Add a learned table of side x side positions, resized to the map."""
        shape = self.shape(at)
        return self._append(Layer(name, POSITION, (at,), shape, shape, kernel=side))

    def attention(self, queries: int, keys: int, values: int, name: str, heads: int) -> int:
        """Softmax(Q K^T / sqrt(width of a head)) V between all positions, in heads."""
        shape = self.shape(queries)
        return self._append(Layer(name, ATTENTION, (queries, keys, values), shape, self.shape(values), groups=heads))

    def linear(self, at: int, name: str, classes: int) -> int:
        """Fully connected layer with bias on a pooled map."""
        shape = self.shape(at)
        return self._append(Layer(name, LINEAR, (at,), shape, (classes, 1, 1), bias=True))

    def conv_norm(  # noqa: PLR0913 - the facts of a convolution
        self,
        at: int,
        name: str,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        depthwise: bool = False,
        groups: int = 1,
        act: str | None = RELU,
    ) -> int:
        """Convolution without bias, normalisation and, unless None is asked for, an activation."""
        groups = channels if depthwise else groups
        at = self.conv(at, f"{name}.conv", channels, kernel, stride=stride, groups=groups)
        at = self.norm(at, f"{name}.norm")
        return self.activation(at, f"{name}.{act}", act) if act else at

    def squeeze_excite(self, at: int, name: str, *, reduced: int | None = None, act: str = RELU) -> int:
        """The gate of ZenNAS and TinyNAS: pool, 1x1 to a quarter, norm, activation, 1x1, norm, sigmoid, multiply."""
        channels = self.shape(at)[0]
        gate = self.global_pool(at, f"{name}.pool")
        gate = self.conv_norm(gate, f"{name}.reduce", reduced or max(1, round(0.25 * channels)), act=act)
        gate = self.conv_norm(gate, f"{name}.expand", channels, act=None)
        return self.gate(at, self.activation(gate, f"{name}.sigmoid", SIGMOID), f"{name}.scale")

    def hard_squeeze_excite(self, at: int, name: str, reduced: int) -> int:
        """The gate of MobileNetV3: pool, 1x1 with bias, ReLU, 1x1 with bias, hard sigmoid, multiply."""
        gate = self.global_pool(at, f"{name}.pool")
        gate = self.activation(self.conv(gate, f"{name}.reduce", reduced, bias=True), f"{name}.relu", RELU)
        gate = self.conv(gate, f"{name}.expand", self.shape(at)[0], bias=True)
        return self.gate(at, self.activation(gate, f"{name}.sigmoid", HARD_SIGMOID), f"{name}.scale")
