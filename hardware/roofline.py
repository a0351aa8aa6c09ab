"""What layers ask of a device, and a cost per unit of each demand: the parametric part of latency.

The demands are additive (multiply-adds, bytes moved and calls, by kind of operation): costs fitted on blocks
compose to whole networks. Alone it ranks well and errs by tens of percent; ``hardware.kriging`` corrects it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log2, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.layers import (
    ACTIVATIONS,
    ADD,
    ATTENTION,
    AVG_POOL,
    CONCAT,
    CONV,
    GLOBAL_POOL,
    LAYER_NORM,
    LINEAR,
    MAX_POOL,
    MUL,
    NORM,
    POSITION,
    RELU,
    RELU6,
    SUM,
    ZERO,
    Layer,
    Shape,
    padding_of,
)

Vector = NDArray[np.float64]

_CONV_KINDS = ("stem", "pointwise", "k3", "wide", "depthwise")
_LIKE = {
    RELU6: RELU,
    SUM: ADD,
    POSITION: ADD,
    CONCAT: ADD,
    ZERO: RELU,
    MAX_POOL: AVG_POOL,
}  # what costs about the same has one column
_ELEMENTWISE = (NORM, ADD, MUL, GLOBAL_POOL, AVG_POOL, LAYER_NORM, *(op for op in ACTIVATIONS if op not in _LIKE))
_PER_CONV = ("macs", "map", "weights", "calls")
DEMANDS = (
    *(f"{kind}.{what}" for kind in _CONV_KINDS for what in _PER_CONV),
    *(f"{op}.{what}" for op in _ELEMENTWISE for what in ("map", "calls")),
    "linear.macs",
    "linear.calls",
    "attention.macs",
    "attention.map",
    "attention.calls",
    "edges.map",  # input and output of a block that runs alone, which runtimes may have to rearrange
)
_AT = {name: i for i, name in enumerate(DEMANDS)}
_CONV_AT = {kind: _AT[f"{kind}.macs"] for kind in _CONV_KINDS}
_LINEAR_AT = _AT["linear.macs"]
_ATTENTION_AT = _AT["attention.macs"]
_ELEMENTWISE_AT = {op: _AT[f"{_LIKE.get(op, op)}.map"] for op in (*_ELEMENTWISE, *_LIKE)}
_MILLION = 1e-6  # demands are in millions of scalars, so that costs are in milliseconds of ordinary size

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
    "odd_share",
    "kernel",
    "gates",
)


class Work(NamedTuple):
    """What a piece of network asks of a device.

    Attributes:
        demands: (len(DEMANDS),) millions of multiply-adds and scalars, and counts of calls, of one image.
        features: (len(FEATURES),) what kind of work it is; sizes as base-2 logarithms.
        weights: scalars that are read; taps that never leave the padding, on maps smaller than the kernel, are not.
    """

    demands: Vector
    features: Vector
    weights: float


def work_of(layers: Sequence[Layer]) -> Work:
    """Sum up layers in one pass: tens of microseconds a block."""
    total = [0.0] * len(DEMANDS)
    macs = pointwise = depthwise = odd = traffic = weights = 0.0
    convs = gates = 0
    kernel, narrowest = 1, layers[-1].shape[0]
    for layer in layers:
        op = layer.op
        if op == CONV:
            at, layer_macs, moved, size = _conv_work(
                layer.in_shape, layer.shape, layer.kernel, layer.stride, layer.groups
            )
            total[at] += _MILLION * layer_macs
            total[at + 1] += _MILLION * moved
            total[at + 2] += _MILLION * size
            total[at + 3] += 1
            weights += size
            macs += layer_macs
            traffic += moved
            convs += 1
            channels = layer.shape[0]
            kernel, narrowest = max(kernel, layer.kernel), min(narrowest, channels)
            if layer.kernel == 1:
                pointwise += layer_macs
            if layer.groups > 1:
                depthwise += layer_macs
            if channels % 8 or layer.in_shape[0] % 8:
                odd += layer_macs
        else:
            _add_other(total, layer)
            macs += layer.macs if op == ATTENTION else 0
            weights += layer.weight_count if op == LINEAR else 0
            gates += op == MUL
    first, last = layers[0].in_shape, layers[-1].shape
    sizes = (macs, traffic, weights, first[0], last[0], narrowest, last[1], first[1] / last[1], convs)
    shares = (part / max(macs, 1.0) for part in (pointwise, depthwise, odd))
    return Work(
        np.array(total),
        np.array([*(log2(max(size, 1.0)) for size in sizes), *shares, kernel, gates]),
        weights,
    )


def _add_other(total: list[float], layer: Layer) -> None:
    """Add what any layer but a convolution asks."""
    if layer.op == LINEAR:
        total[_LINEAR_AT] += _MILLION * layer.macs
        total[_LINEAR_AT + 1] += 1
    elif layer.op == ATTENTION:
        total[_ATTENTION_AT] += _MILLION * layer.macs
        total[_ATTENTION_AT + 1] += _MILLION * layer.groups * prod(layer.shape[1:]) ** 2
        total[_ATTENTION_AT + 2] += 1
    else:
        at = _ELEMENTWISE_AT[layer.op]
        total[at] += _MILLION * max(1, len(layer.inputs) - 1) * prod(layer.in_shape)
        total[at + 1] += 1


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
    _, in_height, in_width = layer.in_shape
    channels, height, width = layer.shape
    rows = _inner_taps(in_height, height, layer.kernel, layer.stride)
    columns = rows if in_width == in_height else _inner_taps(in_width, width, layer.kernel, layer.stride)
    return channels * layer.in_shape[0] / layer.groups * rows * columns


def read_weights(layer: Layer) -> float:
    """Weights of a convolution that meet at least one input value."""
    kernel, stride = layer.kernel, layer.stride
    _, in_height, in_width = layer.in_shape
    _, height, width = layer.shape
    rows = _used_taps(in_height, height, kernel, stride)
    columns = rows if in_width == in_height else _used_taps(in_width, width, kernel, stride)
    return layer.channels * layer.in_shape[0] / layer.groups * rows * columns


@lru_cache(maxsize=100_000)
def _conv_work(in_shape: Shape, shape: Shape, kernel: int, stride: int, groups: int) -> tuple[int, float, int, float]:
    """Place among the demands, multiply-adds, scalars in and out, weights read."""
    layer = Layer("", CONV, (), in_shape, shape, kernel, stride, groups)
    moved = prod(in_shape) + prod(shape)
    return _CONV_AT[conv_kind(layer)], true_macs(layer), moved, read_weights(layer)


@lru_cache(maxsize=10_000)
def _used_taps(size: int, outputs: int, kernel: int, stride: int) -> int:
    """Taps along one axis that fall inside the map at one output position or more."""
    pad = padding_of(kernel, stride)
    return sum(any(0 <= o * stride - pad + tap < size for o in range(outputs)) for tap in range(kernel))


@lru_cache(maxsize=10_000)
def _inner_taps(size: int, outputs: int, kernel: int, stride: int) -> int:
    """Taps inside the map along one axis, summed over output positions."""
    pad = padding_of(kernel, stride)
    starts = range(-pad, -pad + outputs * stride, stride)
    return sum(min(start + kernel, size) - max(start, 0) for start in starts)


def fit_costs(rows: NDArray[np.float64], latency_ms: Vector) -> Vector:
    """Non-negative cost of each demand in milliseconds, by least squares on relative errors.

    Args:
        rows: (n, len(DEMANDS)) demands of what was measured.
        latency_ms: (n,) > 0, session overhead removed.
    """
    from scipy.optimize import nnls

    costs, _ = nnls(rows / latency_ms[:, None], np.ones(len(latency_ms)))
    return np.asarray(costs, dtype=np.float64)
