"""What layers ask of a device, and a cost per unit of each demand: the parametric part of latency.

The demands are additive (multiply-adds, bytes moved and calls, by kind of operation): costs fitted on blocks
compose to whole networks. Alone it ranks well and errs by tens of percent; ``hardware.kriging`` corrects it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2, prod

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from search_spaces.layers import ADD, CONV, GLOBAL_POOL, LINEAR, MUL, NORM, RELU, SIGMOID, Layer, Shape

Vector = NDArray[np.float64]

_CONV_KINDS = ("stem", "pointwise", "k3", "wide", "depthwise")
_ELEMENTWISE = (NORM, RELU, ADD, MUL, SIGMOID, GLOBAL_POOL)
_PER_CONV = ("macs", "map", "weights", "calls")
DEMANDS = (
    *(f"{kind}.{what}" for kind in _CONV_KINDS for what in _PER_CONV),
    *(f"{op}.{what}" for op in _ELEMENTWISE for what in ("map", "calls")),
    "linear.macs",
    "linear.calls",
    "edges.map",  # input and output of a block that runs alone, which runtimes may have to rearrange
)
_AT = {name: i for i, name in enumerate(DEMANDS)}
_CONV_AT = {kind: _AT[f"{kind}.macs"] for kind in _CONV_KINDS}
_ELEMENTWISE_AT = {op: _AT[f"{op}.map"] for op in _ELEMENTWISE}
_MILLION = 1e-6  # demands are in millions of scalars, so that costs are in milliseconds of ordinary size


def demands(layers: Sequence[Layer]) -> Vector:
    """(len(DEMANDS),) millions of multiply-adds and scalars, and counts of calls, of one image."""
    total = [0.0] * len(DEMANDS)
    for layer in layers:
        if layer.op == CONV:
            at = _CONV_AT[conv_kind(layer)]
            total[at] += _MILLION * true_macs(layer)
            total[at + 1] += _MILLION * (prod(layer.in_shape) + prod(layer.shape))
            total[at + 2] += _MILLION * layer.weight_count
            total[at + 3] += 1
        elif layer.op == LINEAR:
            total[_AT["linear.macs"]] += _MILLION * layer.macs
            total[_AT["linear.calls"]] += 1
        else:
            at = _ELEMENTWISE_AT[layer.op]
            total[at] += _MILLION * prod(layer.in_shape)
            total[at + 1] += 1
    return np.array(total)


def edge_demand(in_shape: Shape, out_shape: Shape) -> Vector:
    """The extra demand of a block that runs alone between plain tensors."""
    alone = np.zeros(len(DEMANDS))
    alone[_AT["edges.map"]] = _MILLION * (prod(in_shape) + prod(out_shape))
    return alone


def conv_kind(layer: Layer) -> str:
    """The family of kernels that runs a convolution."""
    if layer.groups > 1:
        return "depthwise"
    if layer.in_channels < 8:
        return "stem"
    if layer.kernel == 1:
        return "pointwise"
    return "k3" if layer.kernel == 3 else "wide"


def true_macs(layer: Layer) -> float:
    """Multiply-adds without the taps that fall on padding."""
    per_position = layer.channels * layer.in_channels / layer.groups
    return per_position * _inner_taps(layer, 1) * _inner_taps(layer, 2)


def _inner_taps(layer: Layer, axis: int) -> int:
    """Taps inside the map along one axis, summed over output positions."""
    size, outputs, kernel, stride, pad = (
        layer.in_shape[axis],
        layer.shape[axis],
        layer.kernel,
        layer.stride,
        layer.padding,
    )
    if kernel == 1:
        return outputs
    starts = range(-pad, -pad + outputs * stride, stride)
    return sum(min(start + kernel, size) - max(start, 0) for start in starts)


def fit_costs(rows: NDArray[np.float64], latency_ms: Vector) -> Vector:
    """Non-negative cost of each demand in milliseconds, by least squares on relative errors.

    Args:
        rows: (n, len(DEMANDS)) demands of what was measured.
        latency_ms: (n,) > 0, session overhead removed.
    """
    costs, _ = nnls(rows / latency_ms[:, None], np.ones(len(latency_ms)))
    return np.asarray(costs, dtype=np.float64)


FEATURES = (
    "macs",
    "map",
    "weights",
    "in_channels",
    "out_channels",
    "narrowest",
    "height",
    "shrink",
    "convs",
    "pointwise_share",
    "depthwise_share",
    "kernel",
    "gates",
    "odd_share",
)


def features(layers: Sequence[Layer]) -> Vector:
    """(len(FEATURES),) what kind of work a piece of network is; sizes as base-2 logarithms."""
    convs = [layer for layer in layers if layer.op == CONV]
    macs = [true_macs(layer) for layer in convs]
    total = max(sum(macs), 1.0)
    first, last = layers[0].in_shape, layers[-1].shape
    sizes = (
        total,
        sum(prod(layer.in_shape) + prod(layer.shape) for layer in convs),
        sum(layer.weight_count for layer in convs),
        first[0],
        last[0],
        min((layer.channels for layer in convs), default=last[0]),
        last[1],
        first[1] / last[1],
        len(convs),
    )
    return np.array(
        [
            *(log2(max(size, 1.0)) for size in sizes),
            sum(m for m, layer in zip(macs, convs, strict=True) if layer.kernel == 1) / total,
            sum(m for m, layer in zip(macs, convs, strict=True) if layer.groups > 1) / total,
            max((layer.kernel for layer in convs), default=1),
            sum(layer.op == MUL for layer in layers),
            sum(
                m for m, layer in zip(macs, convs, strict=True) if layer.channels % 8 or layer.in_channels % 8
            )
            / total,
        ]
    )
