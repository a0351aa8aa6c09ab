"""Parameters and FLOPs as the authors of Zen-NAS count them, to check their published numbers to the unit.

Their "FLOPs" are multiply-accumulates plus one operation per element of a norm. A norm has C parameters where
PyTorch trains 2 C. A projection shortcut leaves out its bias and half of its norm, and divides its resolution
by the stride twice. The classifier has one bias in all. For every other purpose use ``hardware.counts``.

Source: the rules as read in the released code of Lin et al. 2021, Zen-NAS, arXiv 2102.01063.
Checked against: tests/golden/published_networks.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from search_spaces.layers import ADD, CONV, INPUT, LINEAR, MUL, NORM, Layer


@dataclass(frozen=True, slots=True)
class CompatCounts:
    """What the authors' code says of a network: parameters and multiply-accumulates, both their way."""

    params: int
    flops: int


def compat_counts(layers: Sequence[Layer], *, plain: bool = False) -> CompatCounts:
    """Count parameters and FLOPs by the authors' rules.

    Args:
        layers: the whole network; squeeze-and-excite gates are counted where they are.
        plain: count the network without residual links and gates, the one that their score sees.
    """
    main = _chain(layers, len(layers) - 1, frozenset())
    counted = [_main_layer(layers[at]) for at in main]
    if not plain:
        for at in main:
            if layers[at].op in (ADD, MUL):
                side = [layers[i] for i in _chain(layers, layers[at].inputs[1], frozenset(main))]
                counted.append(_projection(side) if layers[at].op == ADD else _gate(side, layers[at]))
    return CompatCounts(sum(params for params, _ in counted), sum(flops for _, flops in counted))


def _chain(layers: Sequence[Layer], at: int, until: frozenset[int]) -> list[int]:
    """Follow the first input back from ``at`` to the input or a position of ``until``: the positions met."""
    chain = []
    while at != INPUT and at not in until:
        chain.append(at)
        at = layers[at].inputs[0]
    return chain


def _main_layer(layer: Layer) -> tuple[int, int]:
    if layer.op == CONV:
        weights = layer.channels * layer.kernel**2 * layer.in_channels // layer.groups
        return weights, weights * prod(layer.in_shape[1:]) // layer.stride**2
    if layer.op == NORM:
        return layer.channels, prod(layer.shape)
    if layer.op == LINEAR:
        return layer.in_channels * layer.channels + 1, layer.in_channels * layer.channels
    return 0, 0


def _projection(side: Sequence[Layer]) -> tuple[int, int]:
    """Count a shortcut (params, FLOPs): nothing for an identity, else a 1x1 convolution and its norm."""
    if not side:
        return 0, 0
    conv = side[-1]
    size = (conv.in_channels + 1) * conv.channels
    return size, size * prod(conv.shape[1:]) // conv.stride**2


def _gate(side: Sequence[Layer], scaled: Layer) -> tuple[int, int]:
    """Count a squeeze-and-excite gate (params, FLOPs), with the scaling of its map."""
    reduce, expand = sorted((layer for layer in side if layer.op == CONV), key=lambda layer: layer.channels)
    weights = reduce.in_channels * reduce.channels + expand.in_channels * expand.channels
    params = weights + 2 * reduce.channels + 2 * expand.channels
    return params, weights + expand.channels + prod(scaled.shape)
