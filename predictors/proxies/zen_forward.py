"""A plain network with random weights and batch statistics, as fast as exact arithmetic allows.

The network runs channels-last, without modules, and three savings leave the result as it is (tests compare it
with the plain definition):

- A map stays as its convolution left it, beside its batch mean m and inverse deviation s. ReLU(s (y - m)) is
  s (max(y, m) - m); before a pointwise convolution, s moves into the weights, and the shift by m is left out,
  because it adds a constant per output channel, which the next norm removes.
- The batch statistics of a pointwise convolution that widens follow from the covariance of its narrow input.
- So the wide map between two pointwise convolutions only ever exists as tiles in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from search_spaces.layers import Layer

NORM_EPS = 1e-3
TILE_FLOATS = 1 << 17  # of a wide map, so that a tile stays in the processor's second-level cache


def draw_weights(convs: Sequence[Layer], generator: torch.Generator, dtype: torch.dtype, device: str) -> list[Tensor]:
    """Draw N(0, 1) weights at once: (in, out) of pointwise convolutions, else (out, in / groups, k, k)."""
    sizes = [conv.weight_count - conv.bias * conv.channels for conv in convs]
    flat = torch.randn(sum(sizes), generator=generator, dtype=dtype, device=device)
    weights = []
    for conv, values in zip(convs, flat.split_with_sizes(sizes), strict=True):
        if _is_pointwise(conv):
            weights.append(values.view(conv.in_channels, conv.channels))
        else:
            channels_last = values.view(conv.channels, conv.kernel, conv.kernel, conv.in_channels // conv.groups)
            weights.append(channels_last.permute(0, 3, 1, 2))
    return weights


def _is_pointwise(conv: Layer) -> bool:
    return conv.kernel == conv.stride == conv.groups == 1


def _is_cheaper_tiled(pair: Sequence[Layer]) -> bool:
    return len(pair) == 2 and all(map(_is_pointwise, pair)) and pair[0].channels >= 2 * pair[0].in_channels


@dataclass(slots=True)
class _Maps:
    """The maps of both passes, standing for ReLU((rows - mean) * scale).

    ``rows``: (2, images * height * width, C), possibly off by a constant per channel that ``mean`` contains;
    ``mean``, ``scale``: (2, 1, C).
    """

    rows: Tensor
    mean: Tensor
    scale: Tensor


def forward(convs: Sequence[Layer], weights: Sequence[Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """Run the plain network on (2, N * H * W, C): (rectified outputs, mean batch variance of each norm)."""
    variances: list[Tensor] = []
    x = _measured(_convolve(convs[0], images, weights[0]), variances)
    at = 1
    while at < len(convs):
        conv = convs[at]
        if _is_cheaper_tiled(convs[at : at + 2]):
            x = _measured(_widen_and_narrow(x, weights[at], weights[at + 1], variances), variances)
            at += 2
        elif _is_pointwise(conv):
            rectified = torch.maximum(x.rows, x.mean, out=x.rows)
            x = _measured(torch.bmm(rectified, x.scale.mT * weights[at]), variances)
            at += 1
        else:
            x = _measured(_convolve(conv, _rectified(x), weights[at]), variances)
            at += 1
    return _rectified(x), torch.stack([v.mean() for v in variances])


def _convolve(conv: Layer, rows: Tensor, weight: Tensor) -> Tensor:
    if _is_pointwise(conv):
        return rows @ weight
    _, height, width = conv.in_shape
    x = rows.view(-1, height, width, conv.in_channels).permute(0, 3, 1, 2)
    y = F.conv2d(x, weight, None, conv.stride, conv.padding, 1, conv.groups)
    return y.permute(0, 2, 3, 1).reshape(rows.shape[0], -1, conv.channels)


def _rectified(x: _Maps) -> Tensor:
    """Normalise and rectify in place."""
    return torch.addcmul(-x.mean * x.scale, x.rows, x.scale, out=x.rows).relu_()


def _measured(rows: Tensor, variances: list[Tensor]) -> _Maps:
    """Add its batch statistics to the output of a convolution; the variance is also appended."""
    count = rows.shape[1]
    mean = rows.sum(1, keepdim=True).div_(count)
    square = (rows * rows).sum(1, keepdim=True).div_(count)
    return _Maps(rows, mean, _scale(torch.addcmul(square, mean, mean, value=-1), count, variances))


def _scale(variance: Tensor, count: int, variances: list[Tensor]) -> Tensor:
    """Inverse deviation of (2, 1, C) biased variances, whose unbiased form is appended."""
    variances.append(variance * (count / max(1, count - 1)))
    return variance.add_(NORM_EPS).rsqrt_()


def _widen_and_narrow(x: _Maps, widen: Tensor, narrow: Tensor, variances: list[Tensor]) -> Tensor:
    """Two pointwise convolutions with norm and ReLU between them; the wide map exists tile by tile only.

    Its statistics follow from the mean and covariance of the narrow map before it.
    """
    rows = torch.maximum(x.rows, x.mean, out=x.rows)
    count = rows.shape[1]
    centre = rows.sum(1, keepdim=True).div_(count)
    covariance = torch.baddbmm(centre.mT @ centre, rows.mT, rows, beta=-1, alpha=1 / count)
    first = x.scale.mT * widen
    mean = centre @ first
    scale = _scale((covariance @ first).mul_(first).sum(1, keepdim=True), count, variances)
    second = scale.mT * narrow
    tile = max(64, TILE_FLOATS // widen.shape[1])
    wide = rows.new_empty(len(rows) * min(tile, count) * widen.shape[1])
    out = rows.new_empty(len(rows), count, narrow.shape[1])
    for start in range(0, count, tile):
        part = rows[:, start : start + tile]
        buffer = wide[: part.shape[0] * part.shape[1] * widen.shape[1]].view(*part.shape[:2], -1)
        torch.bmm(part, first, out=buffer)
        torch.bmm(torch.maximum(buffer, mean, out=buffer), second, out=out[:, start : start + tile])
    return out
