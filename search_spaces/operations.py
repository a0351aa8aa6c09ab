"""What each operation without weights computes, with torch; modules and the functional forward share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from search_spaces.layers import (
    ADD,
    ATTENTION,
    AVG_POOL,
    CONCAT,
    GELU,
    GLOBAL_POOL,
    HARD_SIGMOID,
    HARD_SWISH,
    MAX_POOL,
    MUL,
    NORM_EPS,
    RELU,
    RELU6,
    SIGMOID,
    SILU,
    SUM,
    ZERO,
    Layer,
)


def compute(layer: Layer, values: Sequence[Tensor]) -> Tensor:
    """Output of a layer without weights for its inputs, each (N, C, H, W)."""
    return _OPERATIONS[layer.op](layer, values)


def channel_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """(N, C, H, W) normalised over the channels of each position, scaled and shifted by (C,) each."""
    channels_last = x.permute(0, 2, 3, 1)
    return F.layer_norm(channels_last, (x.shape[1],), weight, bias, NORM_EPS).permute(0, 3, 1, 2)


def add_positions(x: Tensor, table: Tensor) -> Tensor:
    """(N, C, H, W) plus a table (C, side, side), resized bilinearly to H x W where that differs."""
    if x.shape[2:] == table.shape[1:]:
        return x + table
    return x + F.interpolate(table[None], size=x.shape[2:], mode="bilinear", align_corners=False)


def _average_pool(layer: Layer, values: Sequence[Tensor]) -> Tensor:
    tiles = layer.kernel == layer.stride  # the last one may reach beyond the map
    return F.avg_pool2d(values[0], layer.kernel, layer.stride, layer.padding, ceil_mode=tiles, count_include_pad=False)


def _attention(layer: Layer, values: Sequence[Tensor]) -> Tensor:
    n, _, height, width = values[0].shape
    queries, keys, content = (value.reshape(n, layer.groups, -1, height * width) for value in values)
    scale = 1 / queries.shape[2] ** 0.5
    weights = torch.softmax(scale * queries.transpose(2, 3) @ keys, dim=-1)  # (N, heads, query, key)
    return (content @ weights.transpose(2, 3)).reshape(n, -1, height, width)


def _sum(layer: Layer, values: Sequence[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _zeros(layer: Layer, values: Sequence[Tensor]) -> Tensor:
    n, _, height, width = values[0].shape
    return values[0].new_zeros((n, layer.channels, -(-height // layer.stride), -(-width // layer.stride)))


_OPERATIONS: dict[str, Callable[[Layer, Sequence[Tensor]], Tensor]] = {
    RELU: lambda layer, v: F.relu(v[0]),
    RELU6: lambda layer, v: F.relu6(v[0]),
    HARD_SWISH: lambda layer, v: v[0] * F.relu6(v[0] + 3) / 6,
    SILU: lambda layer, v: F.silu(v[0]),
    GELU: lambda layer, v: F.gelu(v[0]),
    SIGMOID: lambda layer, v: torch.sigmoid(v[0]),
    HARD_SIGMOID: lambda layer, v: F.relu6(v[0] + 3) / 6,  # torch's own cannot be differentiated twice
    ADD: _sum,
    SUM: _sum,
    MUL: lambda layer, v: v[0] * v[1],
    ZERO: _zeros,
    AVG_POOL: _average_pool,
    MAX_POOL: lambda layer, v: F.max_pool2d(v[0], layer.kernel, layer.stride, layer.padding),
    CONCAT: lambda layer, v: torch.cat(tuple(v), dim=1),
    GLOBAL_POOL: lambda layer, v: v[0].mean((2, 3), keepdim=True),
    ATTENTION: _attention,
}
