"""Primitive layers with all shapes: the one description of a network that every other tool reads.

A network is a tuple of layers in execution order. ``inputs`` are positions of earlier layers, counted in the
same tuple; ``INPUT`` (-1) is the network's (or the block's) input. ``inputs[0]`` is always the *main path*:
following it back from the output gives the network without its residual links and gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

INPUT = -1

CONV = "conv"
NORM = "norm"
LAYER_NORM = "layer_norm"  # over the channels of each position
RELU = "relu"
RELU6 = "relu6"
HARD_SWISH = "hard_swish"
SILU = "silu"
GELU = "gelu"  # exact, with erf
SIGMOID = "sigmoid"
HARD_SIGMOID = "hard_sigmoid"  # relu6(x + 3) / 6
ADD = "add"  # a residual link: the first input is the main path
SUM = "sum"  # a node of a cell: none of its inputs is the main path
MUL = "mul"  # inputs: map (C, H, W), gate (C, 1, 1)
ZERO = "zero"  # a map of zeros
AVG_POOL = "avg_pool"  # mean of the taps inside the map
MAX_POOL = "max_pool"  # largest of the taps inside the map
CONCAT = "concat"  # maps of one size, their channels one after the other
GLOBAL_POOL = "global_pool"  # (C, H, W) -> (C, 1, 1)
POSITION = "position"  # adds a learned table of kernel x kernel positions, resized to the map
ATTENTION = "attention"  # inputs: queries, keys, values; every position attends to every other; groups are heads
LINEAR = "linear"  # (C, 1, 1) -> (classes, 1, 1)

ACTIVATIONS = (RELU, RELU6, HARD_SWISH, SILU, GELU, SIGMOID, HARD_SIGMOID)
NORMS = (NORM, LAYER_NORM)
WEIGHTED = (CONV, *NORMS, POSITION, LINEAR)
OPS = (*WEIGHTED, *ACTIVATIONS, ADD, SUM, MUL, ZERO, CONCAT, AVG_POOL, MAX_POOL, GLOBAL_POOL, ATTENTION)
NORM_EPS = 1e-5  # added to the variance of every norm

Shape = tuple[int, int, int]  # channels, height, width


class Layer(NamedTuple):
    """One primitive operation.

    Attributes:
        name: dotted path, unique in the network; the prefix of its tensors in a state dict.
        op: one of ``OPS``.
        inputs: positions of the layers it reads, main path first.
        in_shape: (C, H, W) of its first input.
        shape: (C, H, W) of its output.
        kernel: side of the square kernel of a convolution or pooling; of a position table.
        stride: of a convolution or pooling.
        groups: of a convolution; heads of an attention.
        bias: whether a convolution has one; a linear layer always has.
        block: position of the block that it came from; -1 for the classifier.
    """

    name: str
    op: str
    inputs: tuple[int, ...]
    in_shape: Shape
    shape: Shape
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    block: int = -1

    @property
    def in_channels(self) -> int:
        """Channels of the first input."""
        return self.in_shape[0]

    @property
    def channels(self) -> int:
        """Channels of the output."""
        return self.shape[0]

    @property
    def padding(self) -> int:
        """Padding on every side of a convolution or pooling."""
        return padding_of(self.kernel, self.stride)

    @property
    def weight_count(self) -> int:
        """Trainable scalars, as PyTorch counts them: weights, biases, and scale and shift of a norm."""
        if self.op == CONV:
            taps = self.kernel * self.kernel * self.in_channels // self.groups
            return self.channels * (taps + self.bias)
        if self.op in NORMS:
            return 2 * self.channels
        if self.op == LINEAR:
            return self.channels * (self.in_channels + 1)
        if self.op == POSITION:
            return self.channels * self.kernel * self.kernel
        return 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions (padded taps included), linear layers and attentions; else 0."""
        positions = self.shape[1] * self.shape[2]
        if self.op == CONV:
            taps = self.kernel * self.kernel * self.in_channels // self.groups
            return self.channels * taps * positions
        if self.op == LINEAR:
            return self.channels * self.in_channels
        if self.op == ATTENTION:
            return (self.in_channels + self.channels) * positions * positions
        return 0


def padding_of(kernel: int, stride: int) -> int:
    """Padding on every side: half the kernel, but none where patches tile the map (stride = kernel)."""
    return 0 if kernel == stride else (kernel - 1) // 2


def main_path(layers: Sequence[Layer]) -> list[Layer]:
    """The layers met when following ``inputs[0]`` back from the output, in execution order.

    This is the plain network of Zen-NAS: residual links, projections and squeeze-excite gates drop out.
    """
    path = []
    at = len(layers) - 1
    while at != INPUT:
        path.append(layers[at])
        at = layers[at].inputs[0]
    return path[::-1]


def head_start(layers: Sequence[Layer]) -> int:
    """Position of the pooling (or linear layer) of the main path that ends the maps; ``len(layers)`` without one."""
    at, found = len(layers) - 1, len(layers)
    while at != INPUT:
        found = at if layers[at].op in (GLOBAL_POOL, LINEAR) else found
        at = layers[at].inputs[0]
    return found
