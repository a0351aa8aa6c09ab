"""Block -> layers: the single place that says what each block kind consists of.

Adding a block kind is one function and one row of ``BLOCKS``. Everything else (counts, modules, ONNX, scores,
latency, drawings) follows from the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.layers import (
    ADD,
    CONV,
    GLOBAL_POOL,
    INPUT,
    LINEAR,
    MUL,
    NORM,
    RELU,
    SIGMOID,
    Layer,
    Shape,
)

CACHE_SIZE = 200_000  # of results per block or sub-layer
MAX_SIDE = 8192  # of an image, in pixels
MAX_CHANNELS, MAX_KERNEL, MAX_DEPTH, MAX_EXPANSION = 65_536, 255, 1_000, 256  # beyond every published network
LAYERS_CACHE_SIZE = 256  # of layers themselves: many objects, read only while results are computed


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
        depthwise: bool = False,
        bias: bool = False,
    ) -> int:
        """A convolution, padded by (kernel - 1) // 2."""
        shape = c, h, w = self.shape(at)
        shrink = 2 * ((kernel - 1) // 2) - kernel
        out = (channels, (h + shrink) // stride + 1, (w + shrink) // stride + 1)
        groups = c if depthwise else 1
        return self._append(Layer(name, CONV, (at,), shape, out, kernel, stride, groups, bias))

    def norm(self, at: int, name: str) -> int:
        """Batch normalisation."""
        return self._simple(NORM, name, at)

    def relu(self, at: int, name: str) -> int:
        """Rectifier."""
        return self._simple(RELU, name, at)

    def sigmoid(self, at: int, name: str) -> int:
        """Logistic function."""
        return self._simple(SIGMOID, name, at)

    def _simple(self, op: str, name: str, at: int) -> int:
        shape = self.shape(at)
        return self._append(Layer(name, op, (at,), shape, shape))

    def add(self, main: int, shortcut: int, name: str) -> int:
        """Residual addition; the first argument is the main path."""
        shape = self.shape(main)
        if self.shape(shortcut) != shape:
            raise InvalidArchitecture(f"{name}: cannot add {self.shape(shortcut)} to {shape}")
        return self._append(Layer(name, ADD, (main, shortcut), shape, shape))

    def gate(self, at: int, gate: int, name: str) -> int:
        """Multiply a map (C, H, W) by a gate (C, 1, 1)."""
        shape = self.shape(at)
        return self._append(Layer(name, MUL, (at, gate), shape, shape))

    def global_pool(self, at: int, name: str) -> int:
        """Mean over height and width."""
        shape = self.shape(at)
        return self._append(Layer(name, GLOBAL_POOL, (at,), shape, (shape[0], 1, 1)))

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
        relu: bool = True,
    ) -> int:
        """Convolution without bias, normalisation and, unless told otherwise, rectifier."""
        at = self.conv(at, f"{name}.conv", channels, kernel, stride=stride, depthwise=depthwise)
        at = self.norm(at, f"{name}.norm")
        return self.relu(at, f"{name}.relu") if relu else at

    def squeeze_excite(self, at: int, name: str) -> int:
        """The gate of the ZenNAS networks: pool, 1x1 to a quarter, norm, ReLU, 1x1, norm, sigmoid, multiply."""
        channels = self.shape(at)[0]
        gate = self.global_pool(at, f"{name}.pool")
        gate = self.conv_norm(gate, f"{name}.reduce", max(1, round(0.25 * channels)))
        gate = self.conv_norm(gate, f"{name}.expand", channels, relu=False)
        return self.gate(at, self.sigmoid(gate, f"{name}.sigmoid"), f"{name}.scale")


def round8(width: float) -> int:
    """Nearest multiple of 8, halves to even, at least 8 (the rounding of ZenNAS and GENet)."""
    return max(8, round(width / 8) * 8)


def _conv(block: Block, x: LayerList, first: bool) -> None:
    x.conv_norm(INPUT, "u0", block.channels, block.kernel, stride=block.stride)


Unit = Callable[[LayerList, int, str, int], int]  # (layers, at, name, stride) -> position before the addition


def _residual(  # noqa: PLR0913 - where, what, and the kind of its shortcut
    x: LayerList, at: int, name: str, stride: int, unit: Unit, *, project: bool, bias: bool
) -> int:
    """One residual unit: main path, shortcut (identity or 1x1 projection with norm), addition, ReLU."""
    main = unit(x, at, name, stride)
    shortcut = at
    if project or stride != 1 or x.shape(main) != x.shape(at):
        shortcut = x.conv(at, f"{name}.shortcut.conv", x.shape(main)[0], stride=stride, bias=bias)
        shortcut = x.norm(shortcut, f"{name}.shortcut.norm")
    return x.relu(x.add(main, shortcut, f"{name}.add"), f"{name}.relu")


def _full_unit(out: int, inner: int, kernel: int) -> Unit:
    def unit(x: LayerList, at: int, name: str, stride: int) -> int:
        at = x.conv_norm(at, f"{name}.a", inner, kernel, stride=stride)
        return x.conv_norm(at, f"{name}.b", out, kernel, relu=False)

    return unit


def _bottleneck_unit(out: int, inner: int, kernel: int, *, depthwise: bool = False, se: bool = False) -> Unit:
    def unit(x: LayerList, at: int, name: str, stride: int) -> int:
        at = x.conv_norm(at, f"{name}.a", inner)
        at = x.conv_norm(at, f"{name}.b", inner, kernel, stride=stride, depthwise=depthwise)
        if se:
            at = x.squeeze_excite(at, f"{name}.se")
        return x.conv_norm(at, f"{name}.c", out, relu=False)

    return unit


Expander = Callable[[Block, LayerList, bool], None]  # (block, layers, whether this is the first sub-layer)


def _residual_units(units_of: Callable[[Block], tuple[Unit, ...]], *, zen: bool) -> Expander:
    """A sub-layer of residual units; ZenNAS always projects a block's first shortcut, with a bias."""

    def expander(block: Block, x: LayerList, first: bool) -> None:
        at, stride = INPUT, block.stride
        for i, unit in enumerate(units_of(block)):
            at = _residual(x, at, f"u{i}", stride, unit, project=zen and first and i == 0, bias=zen)
            stride = 1

    return expander


def _zen_xx(block: Block) -> tuple[Unit, ...]:
    return (_full_unit(block.channels, block.inner, block.kernel),)


def _zen_bl(block: Block) -> tuple[Unit, ...]:
    return (_bottleneck_unit(block.channels, block.inner, block.kernel, se=block.se),) * 2


def _zen_idw(block: Block) -> tuple[Unit, ...]:
    return tuple(
        _bottleneck_unit(out, round8(out * block.expansion), block.kernel, depthwise=True, se=block.se)
        for out in (block.inner, block.channels)
    )


def _genet_bl(block: Block) -> tuple[Unit, ...]:
    return (_bottleneck_unit(block.channels, block.inner, block.kernel),)


def _genet_dw(block: Block) -> tuple[Unit, ...]:
    return (_bottleneck_unit(block.channels, block.inner, block.kernel, depthwise=True),)


BLOCKS: dict[str, Expander] = {
    "conv": _conv,  # convolution, norm, ReLU
    "zen_xx": _residual_units(_zen_xx, zen=True),  # ZenNAS SuperResKxKx: two full convolutions
    "zen_bl": _residual_units(_zen_bl, zen=True),  # ZenNAS SuperResK1KxK1: two bottlenecks a sub-layer
    "zen_idw": _residual_units(_zen_idw, zen=True),  # ZenNAS SuperResIDWEnKx: two inverted residuals a sub-layer
    "genet_xx": _residual_units(_zen_xx, zen=False),  # GENet SuperResKXKX
    "genet_bl": _residual_units(_genet_bl, zen=False),  # GENet SuperResK1KXK1
    "genet_dw": _residual_units(_genet_dw, zen=False),  # GENet SuperResK1DWK1
}
NEEDS_INNER = frozenset(BLOCKS) - {"conv"}
NEEDS_EXPANSION = frozenset({"zen_idw"})


class SubLayer(NamedTuple):
    """The repeated part of a block, the unit in which costs and scores are cached: few distinct ones exist.

    Attributes:
        block: with depth 1; stride 1 unless first.
        in_shape: (channels, height, width) of its input.
        first: whether it opens its block (it has the stride and, in ZenNAS, the projection).
    """

    block: Block
    in_shape: Shape
    first: bool


@lru_cache(maxsize=CACHE_SIZE)
def sub_layers(block: Block, in_shape: Shape) -> tuple[tuple[SubLayer, int], ...]:
    """A block as (sub-layer, how many times in a row): the first one, then the equal others.

    Raises: InvalidArchitecture: unknown kind, or choices that do not make a block.
    """
    check_block(block)
    first = SubLayer(block if block.depth == 1 else replace(block, depth=1), in_shape, True)
    if block.depth == 1:
        return ((first, 1),)
    later = SubLayer(replace(block, depth=1, stride=1), expand_sub_layer(first)[-1].shape, False)
    return ((first, 1), (later, block.depth - 1))


@lru_cache(maxsize=LAYERS_CACHE_SIZE)
def expand_sub_layer(sub: SubLayer) -> tuple[Layer, ...]:
    """Layers of one sub-layer; names and positions are relative to it, INPUT is its input.

    Raises: InvalidArchitecture: unknown kind, or choices that do not make a block.
    """
    check_block(sub.block)
    layers = LayerList(sub.in_shape)
    BLOCKS[sub.block.kind](sub.block, layers, sub.first)
    return tuple(layers.layers)


def expand_block(block: Block, in_shape: Shape) -> tuple[Layer, ...]:
    """Layers of one block; names and positions are relative to the block, INPUT is its input.

    Args:
        block: what to expand.
        in_shape: (channels, height, width) of its input.
    Raises: InvalidArchitecture: unknown kind, or choices that do not make a block.
    """
    layers: list[Layer] = []
    parts = [part for part, times in sub_layers(block, in_shape) for _ in range(times)]
    for i, part in enumerate(parts):
        _append_shifted(layers, expand_sub_layer(part), f"s{i}.")
    return tuple(layers)


def _append_shifted(layers: list[Layer], part: Iterable[Layer], prefix: str, block: int = -1) -> None:
    """Append layers whose INPUT is the last layer so far; the first part keeps INPUT."""
    start = len(layers)
    for layer in part:
        inputs = tuple(start + at for at in layer.inputs)  # INPUT is -1: the layer before the start
        layers.append(layer._replace(name=prefix + layer.name, inputs=inputs, block=block))


@lru_cache(maxsize=CACHE_SIZE)
def block_output(block: Block, in_shape: Shape) -> Shape:
    """(channels, height, width) of a block's output."""
    return expand_sub_layer(sub_layers(block, in_shape)[-1][0])[-1].shape


def check_block(block: Block, where: str = "block") -> None:
    """Raise InvalidArchitecture unless the block's choices make sense for its kind."""
    if block.kind not in BLOCKS:
        raise InvalidArchitecture(f"{where}.kind={block.kind!r}, expected one of {', '.join(BLOCKS)}")
    limits = {
        "channels": (1, MAX_CHANNELS),
        "kernel": (1, MAX_KERNEL),
        "stride": (1, 2),
        "depth": (1, MAX_DEPTH),
        "inner": (1 if block.kind in NEEDS_INNER else 0, MAX_CHANNELS),
        "expansion": (1 if block.kind in NEEDS_EXPANSION else 0, MAX_EXPANSION),
    }
    for name, (least, most) in limits.items():
        if not least <= getattr(block, name) <= most:
            raise InvalidArchitecture(
                f"{where}.{name}={getattr(block, name)}, expected {least} to {most} for {block.kind}"
            )
    if block.kernel % 2 == 0:
        raise InvalidArchitecture(f"{where}.kernel={block.kernel}, expected an odd number")


def check_blocks(arch: Architecture) -> None:
    """Raise InvalidArchitecture, naming the block, unless every block's choices make sense for its kind."""
    for i, block in enumerate(arch.blocks):
        check_block(block, f"blocks[{i}]")


def check_input_shape(shape: Shape) -> None:
    """Raise InvalidArchitecture unless (channels, height, width) are within the bounds that can be computed."""
    channels, height, width = shape
    if not 1 <= channels <= MAX_CHANNELS or not 1 <= min(height, width) <= max(height, width) <= MAX_SIDE:
        raise InvalidArchitecture(
            f"input shape {shape}, expected 1 to {MAX_CHANNELS} channels and sides of 1 to {MAX_SIDE} pixels"
        )


def block_inputs(arch: Architecture, input_shape: Shape) -> Iterator[tuple[Block, Shape]]:
    """Each block with the (channels, height, width) that it receives. Cheap: expansions are cached."""
    shape = input_shape
    for block in arch.blocks:
        yield block, shape
        shape = block_output(block, shape)


def output_shape(arch: Architecture, input_shape: Shape) -> Shape:
    """(channels, height, width) of the last feature map."""
    shape = input_shape
    for block in arch.blocks:
        shape = block_output(block, shape)
    return shape


def expand(arch: Architecture, input_shape: Shape, num_classes: int | None = None) -> tuple[Layer, ...]:
    """The whole network as layers.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
        num_classes: adds global pooling and a linear classifier; None gives the features only.
    Raises: InvalidArchitecture: the message names the block.
    """
    layers: list[Layer] = []
    for i, (block, shape) in enumerate(_checked_inputs(arch, input_shape)):
        _append_shifted(layers, expand_block(block, shape), f"blocks.{i}.", i)
    if num_classes is not None:
        head = LayerList(layers[-1].shape)
        head.linear(head.global_pool(INPUT, "head.pool"), "head.fc", num_classes)
        _append_shifted(layers, head.layers, "")
    return tuple(layers)


def _checked_inputs(arch: Architecture, input_shape: Shape) -> Iterator[tuple[Block, Shape]]:
    check_input_shape(input_shape)
    check_blocks(arch)
    return block_inputs(arch, input_shape)
