"""Layers of other sizes: the same operations in the same order, after channels were removed or for other images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search_spaces.layers import (
    ATTENTION,
    AVG_POOL,
    CONCAT,
    CONV,
    GLOBAL_POOL,
    INPUT,
    LINEAR,
    MAX_POOL,
    ZERO,
    Layer,
    Shape,
)

Shapes = Mapping[str, tuple[int, ...]]


def resized(layers: Sequence[Layer], shapes: Shapes) -> tuple[Layer, ...]:
    """The layers with channels and groups as the tensors say; heights and widths stay.

    Args:
        layers: before the removal.
        shapes: of all tensors after it, by name in the state dict.
    """
    channels = {INPUT: layers[0].in_channels}
    found: list[Layer] = []
    for at, layer in enumerate(layers):
        read = [channels[i] for i in layer.inputs]
        made, groups = _sizes(layer, read, shapes)
        channels[at] = made
        in_shape, shape = (read[0], *layer.in_shape[1:]), (made, *layer.shape[1:])
        found.append(layer._replace(in_shape=in_shape, shape=shape, groups=groups))
    return tuple(found)


def _sizes(layer: Layer, read: Sequence[int], shapes: Shapes) -> tuple[int, int]:
    """Output channels and groups of a layer that reads so many channels."""
    if layer.op == CONV:
        made, each = shapes[f"{layer.name}.weight"][:2]
        return made, layer.groups if layer.groups == 1 else read[0] // each
    if layer.op == LINEAR:
        return shapes[f"{layer.name}.weight"][0], layer.groups
    if layer.op == ATTENTION:
        width = layer.in_channels // layer.groups
        return read[2], read[0] // width
    if layer.op == CONCAT:
        return sum(read), layer.groups
    if layer.op == ZERO and layer.channels != layer.in_channels:
        return layer.channels, layer.groups
    return read[0], layer.groups


def at_size(layers: Sequence[Layer], input_shape: Shape) -> tuple[Layer, ...]:
    """The layers with the heights and widths that they have for images of another size; channels stay.

    Args:
        layers: of a network that takes any size.
        input_shape: (channels, height, width) of one image.
    """
    sides = {INPUT: input_shape[1:]}
    found: list[Layer] = []
    for at, layer in enumerate(layers):
        read = sides[layer.inputs[0]]
        made = sides[layer.inputs[-1]] if layer.op == ATTENTION else _sides(layer, read)
        sides[at] = made
        found.append(layer._replace(in_shape=(layer.in_channels, *read), shape=(layer.channels, *made)))
    return tuple(found)


def _sides(layer: Layer, read: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a layer's output."""
    height, width = read
    if layer.op == CONV:
        shrink = 2 * layer.padding - layer.kernel
        return (height + shrink) // layer.stride + 1, (width + shrink) // layer.stride + 1
    if layer.op in (AVG_POOL, MAX_POOL, ZERO):
        return -(-height // layer.stride), -(-width // layer.stride)
    if layer.op in (GLOBAL_POOL, LINEAR):
        return 1, 1
    return read
