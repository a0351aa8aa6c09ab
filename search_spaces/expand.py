"""Architecture -> blocks -> sub-layers -> layers, with the shapes on the way.

What each block kind consists of stands in ``search_spaces.blocks``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import MAX_CHANNELS, check_block
from search_spaces.blocks import BLOCKS
from search_spaces.layer_list import LayerList
from search_spaces.layers import INPUT, Layer, Shape

CACHE_SIZE = 200_000  # of results per block or sub-layer
MAX_SIDE = 8192  # of an image, in pixels
LAYERS_CACHE_SIZE = 256  # of layers themselves: many objects, read only while results are computed


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
    if block.weight_bits:
        block = replace(block, weight_bits=(), activation_bits=())  # no part of the layers
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
    BLOCKS[sub.block.kind].expand(sub.block, layers, sub.first)
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
