"""Layers after channels were removed: the same operations in the same order, with the sizes that tensors now have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search_spaces.layers import ATTENTION, CONCAT, CONV, INPUT, LINEAR, ZERO, Layer

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
