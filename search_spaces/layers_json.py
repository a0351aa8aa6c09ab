"""Layers as plain data: how a network is written down that is no longer what its architecture says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_spaces.arch import InvalidArchitecture
from search_spaces.block_limits import MAX_CHANNELS
from search_spaces.layers import INPUT, OPS, Layer

_MAX_KERNEL = 1024
_MAX_LAYERS = 100_000


def layers_to_json(layers: Sequence[Layer]) -> list[list[Any]]:
    """One list for each layer: name, op, inputs, channels read and made, kernel, stride, groups, bias, block."""
    return [
        [x.name, x.op, list(x.inputs), x.in_channels, x.channels, x.kernel, x.stride, x.groups, x.bias, x.block]
        for x in layers
    ]


def layers_from_json(data: object, where: str) -> tuple[Layer, ...]:
    """Read what ``layers_to_json`` wrote; heights and widths are 1 until ``at_size`` sets them.

    Args:
        data: of a JSON file.
        where: it stands, for the message.
    Raises: InvalidArchitecture.
    """
    if not isinstance(data, list) or not 0 < len(data) <= _MAX_LAYERS:
        raise InvalidArchitecture(f"{where}: expected a list of 1 to {_MAX_LAYERS} layers")
    layers = tuple(_layer(row, at, f"{where}[{at}]") for at, row in enumerate(data))
    names = [layer.name for layer in layers]
    if len(set(names)) < len(names):
        raise InvalidArchitecture(f"{where}: two layers have one name")
    for at, layer in enumerate(layers):
        first = layer.inputs[0]
        made = layers[first].channels if first != INPUT else layers[0].in_channels
        if made != layer.in_channels:
            raise InvalidArchitecture(f"{where}[{at}]: reads {layer.in_channels} channels of a layer that makes {made}")
    return layers


def _layer(row: object, at: int, where: str) -> Layer:
    expected = "[name, op, inputs, channels read, channels made, kernel, stride, groups, bias, block]"
    if not isinstance(row, list) or [type(value) for value in row] != [str, str, list, *[int] * 5, bool, int]:
        raise InvalidArchitecture(f"{where}: expected {expected}")
    name, op, inputs, read, made, kernel, stride, groups, bias, block = row
    if op not in OPS or not all(part.isidentifier() or part.isdecimal() for part in name.split(".")):
        raise InvalidArchitecture(f"{where}: operation {op!r} named {name!r}, expected one of {', '.join(OPS)}")
    if not inputs or any(type(i) is not int or not INPUT <= i < at for i in inputs):
        raise InvalidArchitecture(f"{where}: inputs {inputs}, expected positions of earlier layers")
    sizes = (read, MAX_CHANNELS), (made, MAX_CHANNELS), (kernel, _MAX_KERNEL), (stride, _MAX_KERNEL), (groups, read)
    if any(not 1 <= value <= most for value, most in sizes) or read % groups or block < -1:
        raise InvalidArchitecture(f"{where}: sizes {row[3:]} are out of range")
    return Layer(name, op, tuple(inputs), (read, 1, 1), (made, 1, 1), kernel, stride, groups, bias, block)
