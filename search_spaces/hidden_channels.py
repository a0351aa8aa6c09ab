"""Which channels inside a block can be reordered together without changing what the network computes.

A group begins at a convolution that mixes all its inputs, goes through what works channel by channel (norms,
activations, depthwise convolutions, gates), and ends at convolutions that mix again. Channels that reach the output of
the block or a residual addition belong to no group: they are shared with other blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from search_spaces.layers import ACTIVATIONS, CONV, GLOBAL_POOL, MUL, NORM, Layer

_CHANNELWISE = (NORM, MUL, GLOBAL_POOL, *ACTIVATIONS)


class HiddenChannels(NamedTuple):
    """One group, by positions of layers.

    Attributes:
        makers: convolutions whose outputs are the channels.
        carriers: norms and depthwise convolutions on the way.
        readers: convolutions whose inputs they are.
    """

    makers: tuple[int, ...]
    carriers: tuple[int, ...]
    readers: tuple[int, ...]


def hidden_channels(layers: Sequence[Layer]) -> list[HiddenChannels]:
    """The groups of a list of layers, of one block or of a network.

    Convolutions with groups of more than one channel, and what an attention, a sum or an addition touches, are left
    out.
    """
    roots = _joined(layers)
    readers: dict[int, list[int]] = {}
    closed = {roots[-1]}
    for at, layer in enumerate(layers):
        known = [roots[i] for i in layer.inputs if i >= 0]
        closed.update(roots[i] for i in layer.inputs if i >= 0 and layers[i].block != layer.block)
        if _mixes(layer):
            for root in known:
                readers.setdefault(root, []).append(at)
        elif not _keeps_channels(layer):
            closed.update(known, [roots[at]])
        elif len(known) < len(layer.inputs):  # works on the block's input
            closed.add(roots[at])
    return [
        group
        for root in dict.fromkeys(roots)
        if root not in closed and root in readers and (group := _group(layers, roots, root, readers[root])).makers
    ]


def _joined(layers: Sequence[Layer]) -> list[int]:
    """For each layer the name of its group: those that hand their channels on one by one are in one."""
    parent = list(range(len(layers)))
    for at, layer in enumerate(layers):
        for i in layer.inputs:
            if i >= 0 and _keeps_channels(layer):
                parent[_root(parent, i)] = _root(parent, at)
    return [_root(parent, at) for at in range(len(layers))]


def _group(layers: Sequence[Layer], roots: Sequence[int], root: int, readers: Sequence[int]) -> HiddenChannels:
    members = [at for at in range(len(layers)) if roots[at] == root]
    makers = tuple(at for at in members if _mixes(layers[at]))
    carriers = tuple(at for at in members if at not in makers and layers[at].op in (NORM, CONV))
    return HiddenChannels(makers, carriers, tuple(readers))


def _mixes(layer: Layer) -> bool:
    return layer.op == CONV and layer.groups == 1


def _keeps_channels(layer: Layer) -> bool:
    """Whether channel i of its output comes from channel i of its inputs alone."""
    depthwise = layer.op == CONV and 1 < layer.groups == layer.in_channels == layer.channels
    return depthwise or layer.op in _CHANNELWISE


def _root(parent: list[int], at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = parent[at]
    return at
