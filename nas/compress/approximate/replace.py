"""A convolution replaced by two, in a copy of any module; our own networks stay networks with a list of layers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from nas.compress.approximate.decompose import Pair
from search_spaces.build import Network
from search_spaces.layers import CONV, INPUT, Layer
from search_spaces.resized import resized


def replaced(model: nn.Module, pairs: Mapping[str, Pair]) -> nn.Module:
    """A new module in which the convolution at each path is a sequence of two.

    Args:
        model: not changed.
        pairs: by dotted path of a ``nn.Conv2d``.
    """
    result = copy.deepcopy(model)
    for path, pair in pairs.items():
        conv = result.get_submodule(path)
        assert isinstance(conv, nn.Conv2d)
        parent, _, leaf = path.rpartition(".")
        setattr(result.get_submodule(parent), leaf, _sequence(conv, pair).train(conv.training))
    return _network(result, list(pairs)) if isinstance(result, Network) else result


def _sequence(conv: nn.Conv2d, pair: Pair) -> nn.Sequential:
    middle = len(pair.first)
    height, width = pair.first.shape[2:]
    first = nn.Conv2d(conv.in_channels, middle, (height, width), groups=pair.groups, bias=False)
    first.stride, first.padding, first.dilation = conv.stride, conv.padding, conv.dilation
    first._reversed_padding_repeated_twice = conv._reversed_padding_repeated_twice
    second = nn.Conv2d(middle, conv.out_channels, 1, bias=conv.bias is not None)
    with torch.no_grad():
        first.weight.copy_(pair.first)
        second.weight.copy_(pair.second)
        if conv.bias is not None and second.bias is not None:
            second.bias.copy_(conv.bias)
    return nn.Sequential(first, second).to(conv.weight)


def _network(changed: Network, paths: Sequence[str]) -> Network:
    """The network anew, from a list of layers that has the two convolutions."""
    tensors = changed.state_dict()
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    layers = resized(_split(changed.layers, set(paths), shapes), shapes)
    result = Network(layers, changed.arch, changed.num_classes, changed.in_channels)
    result.load_state_dict(tensors)
    return result.train(changed.training).to(next(changed.parameters()).device)


def _split(layers: Sequence[Layer], paths: set[str], shapes: Mapping[str, tuple[int, ...]]) -> tuple[Layer, ...]:
    found: list[Layer] = []
    place = {INPUT: INPUT}  # old position -> new one
    for at, layer in enumerate(layers):
        inputs = tuple(place[i] for i in layer.inputs)
        if layer.op != CONV or layer.name not in paths:
            found.append(layer._replace(inputs=inputs))
        else:
            middle = (shapes[f"{layer.name}.0.weight"][0], *layer.shape[1:])
            # any number of groups but 1 says that there are some; ``resized`` reads the number off the tensor
            found.append(layer._replace(name=f"{layer.name}.0", inputs=inputs, shape=middle, groups=2, bias=False))
            found.append(
                layer._replace(
                    name=f"{layer.name}.1", inputs=(len(found) - 1,), in_shape=middle, kernel=1, stride=1, groups=1
                )
            )
        place[at] = len(found) - 1
    return tuple(found)
