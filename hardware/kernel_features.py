"""What is known of a kernel before it runs, as numbers: demands for a roofline, features for a learned correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from hardware.kernels import CONV_KINDS, DEPTHWISE, GROUPED, KINDS, POINTWISE, Kernel
from search_spaces.layers import ACTIVATIONS, padding_of

Matrix = NDArray[np.float64]

DEMANDS = ("macs", "lanes", "steps", "map", "weights", "calls")  # by kind of kernel
MILLION = 1e-6  # demands are in millions, so that costs are in milliseconds of ordinary size
BLOCKS = (8, 16)  # channels that vector units take at a time
_LANES, _ROW, _SETS = 16, 6, 4  # channels, positions and blocks of channels that one pass of a CPU kernel covers
FEATURES = (
    *(f"is_{kind}" for kind in CONV_KINDS),
    "kind",
    "act",
    "adds",
    "kernel",
    "stride",
    "log_macs",
    "log_inputs",
    "log_outputs",
    "log_weights",
    "log_in_channels",
    "log_channels",
    "log_side",
    "log_in_side",
    "log_group_channels",
    "log_batch",
    *(f"{what}_spill_{block}" for block in BLOCKS for what in ("in", "out", "group")),
    "out_blocks_left",
    "row_left",
    "log_lanes",
    "log_steps",
    "edge_share",
)
AMOUNTS = ("log_macs", "log_inputs", "log_outputs", "log_weights", "log_batch", "log_lanes", "log_steps")


def demands(kernels: Sequence[Kernel]) -> Matrix:
    """(n, len(KINDS) * len(DEMANDS)) what each kernel asks, in the columns of its kind; millions, and calls."""
    rows = np.zeros((len(kernels), len(KINDS), len(DEMANDS)))
    for i, kernel in enumerate(kernels):
        rows[i, KINDS.index(kernel.kind)] = _demand(kernel)
    return rows.reshape(len(kernels), -1)


def features(kernels: Sequence[Kernel]) -> Matrix:
    """(n, len(FEATURES)) float; sizes as base-2 logarithms."""
    return np.array([_features(kernel) for kernel in kernels]).reshape(len(kernels), len(FEATURES))


@lru_cache(maxsize=50_000)
def _demand(kernel: Kernel) -> tuple[float, ...]:
    maps = kernel.traffic - kernel.weight_count
    amounts = (true_macs(kernel), lane_macs(kernel), steps(kernel), maps, kernel.weight_count)
    return (*(MILLION * amount for amount in amounts), 1.0)


@lru_cache(maxsize=50_000)
def _features(kernel: Kernel) -> tuple[float, ...]:
    channels, height, width = kernel.shape
    in_channels, in_height, _ = kernel.in_shape
    inputs, outputs = kernel.batch * prod(kernel.in_shape), kernel.batch * prod(kernel.shape)
    macs, weights = true_macs(kernel), kernel.weight_count
    group = channels // kernel.groups if kernel.is_conv else channels
    amounts = (macs, inputs, outputs, weights)
    sides = (in_channels, channels, height, in_height, group, kernel.batch)
    spills = (_spill(size, block) for block in BLOCKS for size in (in_channels, channels, group))
    return (
        *(float(kernel.kind == kind) for kind in CONV_KINDS),
        float(KINDS.index(kernel.kind)),
        float(1 + ACTIVATIONS.index(kernel.act) if kernel.act else 0),
        float(kernel.adds),
        float(kernel.kernel),
        float(kernel.stride),
        *np.log2(np.maximum((*amounts, *sides), 1e-3)).tolist(),
        *spills,
        float(ceil(channels / BLOCKS[-1]) % 4),
        float(width % _ROW),
        math.log2(max(lane_macs(kernel), 1.0)),
        math.log2(max(steps(kernel), 1.0)),
        _edge_positions(kernel) / width,
    )


def _spill(size: int, block: int) -> float:
    """Share of the lanes that stay empty in the last block of channels."""
    return ceil(size / block) * block / size - 1


def true_macs(kernel: Kernel) -> float:
    """Multiply-adds of the batch without the taps that fall on padding."""
    if not kernel.is_conv:
        return float(kernel.macs)
    _, in_height, in_width = kernel.in_shape
    channels, height, width = kernel.shape
    rows = _inner_taps(in_height, height, kernel.kernel, kernel.stride)
    columns = (
        rows
        if in_width == in_height and width == height
        else _inner_taps(in_width, width, kernel.kernel, kernel.stride)
    )
    in_group = 1 if kernel.kind == DEPTHWISE else kernel.in_shape[0] // kernel.groups
    return float(kernel.batch * channels * in_group * rows * columns)


def lane_macs(kernel: Kernel) -> float:
    """Multiply-adds with the channels filled up to whole vectors."""
    if not kernel.is_conv:
        return true_macs(kernel)
    return true_macs(kernel) * (1 + _spill(kernel.shape[0], _LANES)) * (1 + _wide_spill(kernel.in_shape[0]))


def steps(kernel: Kernel) -> float:
    """Passes of a blocked CPU kernel: rows in chunks, positions at the edge one by one, channels in sets of blocks."""
    if not kernel.is_conv:
        return 0.0
    channels, height, width = kernel.shape
    taps, blocks = kernel.kernel**2, ceil(channels / _LANES)
    if kernel.kind == POINTWISE:
        return float(kernel.batch * ceil(height * width / _ROW) * ceil(blocks / _SETS) * kernel.in_shape[0])
    edge = _edge_positions(kernel)
    rows = kernel.batch * height * (edge + ceil((width - edge) / _ROW)) * taps
    if kernel.kind == DEPTHWISE:
        return float(rows * blocks)
    if kernel.kind == GROUPED:
        return float(rows * channels * (kernel.in_shape[0] // kernel.groups) / _LANES)
    return float(rows * ceil(blocks / _SETS) * kernel.in_shape[0])


def _edge_positions(kernel: Kernel) -> int:
    """Positions of a row whose window reaches over the edge of the map."""
    if not kernel.is_conv:
        return 0
    return kernel.shape[2] - _inside(kernel.in_shape[2], kernel.shape[2], kernel.kernel, kernel.stride)


@lru_cache(maxsize=10_000)
def _inside(size: int, outputs: int, kernel: int, stride: int) -> int:
    pad = padding_of(kernel, stride)
    return sum(at * stride >= pad and at * stride - pad + kernel <= size for at in range(outputs))


def _wide_spill(channels: int) -> float:
    """Empty lanes of the input channels; few channels are read one by one."""
    return _spill(channels, _LANES) if channels >= _LANES else 0.0


@lru_cache(maxsize=10_000)
def _inner_taps(size: int, outputs: int, kernel: int, stride: int) -> int:
    """Taps inside the map along one axis, summed over output positions."""
    pad = padding_of(kernel, stride)
    starts = range(-pad, -pad + outputs * stride, stride)
    return sum(min(start + kernel, size) - max(start, 0) for start in starts)
