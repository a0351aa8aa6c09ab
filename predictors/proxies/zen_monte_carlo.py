"""Zen-Score as its authors measure it: random weights, random images, two forward passes.

No module is built: weights are drawn straight into tensors and the plain network runs channels-last. A map stays
as the convolution left it, beside its batch mean m and inverse deviation s; since ReLU(s (y - m)) =
s (max(y, m) - m), s moves into the next weights, and before a 1x1 convolution the shift by m is left out: it adds
a constant to each output channel, which the next norm removes. The batch statistics of a 1x1 convolution that
widens follow from the covariance of its narrow input; the wide map between two 1x1 convolutions then only ever
exists as tiles in the processor's cache. All of this is exact: tests compare it with the plain definition.

Source: Lin et al. 2021, Zen-NAS, arXiv 2102.01063, algorithm 1.
Deviations: the L1 norm of the authors' code, not the Frobenius norm of the paper. Batch variances are averaged over
both passes, where the authors' moving average weighs the second by 10 in 19 (less than 1e-3 nats).
Checked against: tests/golden/zen_scores.json.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch
from torch import Tensor
from torch.nn import functional as F

from predictors.proxies.failure import ProxyFailed
from predictors.proxies.zen import GAMMA, plain_convolutions, update_fractions
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import Layer, Shape, main_path

NORM_EPS = 1e-3
TILE_FLOATS = 1 << 17  # of a wide map, so that tile and weights stay in a 1 MB cache


@dataclass(frozen=True, slots=True)
class ZenSampling:
    """How a Monte-Carlo score is taken.

    Attributes:
        batch: images; 4 are as precise as 16, because the weights make nearly all of the spread.
        repeat: draws of weights and images.
        gamma: standard deviation of the perturbation of the image, > 0.
        momentum: of the running variances, in (0, 1]; 1 reads the batch variance itself.
        device: where to compute; the generator must live there.
        dtype: of weights and maps.
    """

    batch: int = 4
    repeat: int = 1
    gamma: float = GAMMA
    momentum: float = 1.0
    device: str = "cpu"
    dtype: torch.dtype = torch.float32


COMPAT = ZenSampling(batch=16, momentum=0.1)
"""What the authors' code does in a search, apart from its batch of 64."""


@dataclass(frozen=True, slots=True)
class ZenEstimate:
    """A Monte-Carlo score in nats; higher means more expressive.

    Attributes:
        mean: over the repeats.
        standard_error: of the mean; NaN for one repeat. With momentum < 1 the values drift upwards, because the
            running variances are never reset, and this says nothing about precision.
        values: one a repeat.
    """

    mean: float
    standard_error: float
    values: tuple[float, ...]


def zen_score_monte_carlo(
    arch: Architecture,
    input_shape: Shape,
    sampling: ZenSampling = ZenSampling(),
    *,
    generator: torch.Generator,
) -> ZenEstimate:
    """Measure the Zen-Score of an architecture with random weights.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
        sampling: batch, repeats, perturbation, momentum, device.
        generator: the only source of randomness.
    Returns: nats; higher means more expressive.
    Raises: ProxyFailed: a setting out of range; not a chain of convolution, norm, ReLU; a dead or overflowing map.
    """
    return zen_score_monte_carlo_of_layers(expand(arch, input_shape), sampling, generator=generator)


@torch.inference_mode()
def zen_score_monte_carlo_of_layers(
    layers: Sequence[Layer], sampling: ZenSampling = ZenSampling(), *, generator: torch.Generator
) -> ZenEstimate:
    """Measure the same for a network given as layers; settings, result and errors as above."""
    if sampling.batch < 1:
        raise ProxyFailed(f"Zen-Score: batch={sampling.batch}, expected at least 1")
    share = update_fractions(sampling.gamma, sampling.momentum, sampling.repeat)[0]
    convs = list(plain_convolutions(main_path(layers)))
    running = torch.ones(len(convs), dtype=sampling.dtype, device=sampling.device)
    values = []
    for _ in range(sampling.repeat):
        distance, variances = _draw(convs, sampling, generator)
        running = running.lerp(variances, share)
        _check_alive(convs, variances, distance)
        values.append((distance.log() + 0.5 * running.log().sum()).item())
    spread = stdev(values) if len(values) > 1 else math.nan
    return ZenEstimate(fmean(values), spread / math.sqrt(len(values)), tuple(values))


def _check_alive(convs: Sequence[Layer], variances: Tensor, distance: Tensor) -> None:
    for conv, variance in zip(convs, variances.tolist(), strict=True):
        if not 0 < variance < math.inf:
            raise ProxyFailed(f"{conv.name}: batch variance {variance}, expected a positive number (dead or overflowing)")
    if not 0 < distance.item() < math.inf:
        raise ProxyFailed(f"{convs[-1].name}: the perturbation moves the output by {distance.item()}, expected more than 0")


def _draw(convs: Sequence[Layer], sampling: ZenSampling, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One draw of weights and images: (L1 distance of both outputs, mean batch variance of each norm)."""
    weights = _draw_weights(convs, sampling, generator)
    channels, height, width = convs[0].in_shape
    noise = torch.randn(
        (2, sampling.batch * height * width, channels),
        generator=generator,
        dtype=sampling.dtype,
        device=sampling.device,
    )
    image, moved = noise[0], torch.add(noise[0], noise[1], alpha=sampling.gamma)
    output, variances = _forward(convs, weights, image)
    moved_output, moved_variances = _forward(convs, weights, moved)
    distance = (output - moved_output).abs_().sum() / sampling.batch
    return distance, (variances + moved_variances) / 2


def _draw_weights(convs: Sequence[Layer], sampling: ZenSampling, generator: torch.Generator) -> list[Tensor]:
    """N(0, 1) weights, views of one draw: (in, out) of pointwise convolutions, else (out, in / groups, k, k)."""
    sizes = [conv.weight_count - conv.bias * conv.channels for conv in convs]
    flat = torch.randn(sum(sizes), generator=generator, dtype=sampling.dtype, device=sampling.device).split(sizes)
    weights = []
    for conv, values in zip(convs, flat, strict=True):
        if _is_pointwise(conv):
            weights.append(values.view(conv.in_channels, conv.channels))
        else:
            channels_last = values.view(conv.channels, conv.kernel, conv.kernel, conv.in_channels // conv.groups)
            weights.append(channels_last.permute(0, 3, 1, 2))
    return weights


def _is_pointwise(conv: Layer) -> bool:
    return conv.kernel == conv.stride == conv.groups == 1


@dataclass(slots=True)
class _Map:
    """A feature map that stands for ReLU((rows - mean) * scale); the image has neither mean nor scale.

    ``rows``: (images * height * width, C); ``mean``, ``scale``: (C,); ``variance``: (), mean over the channels.
    """

    rows: Tensor
    mean: Tensor
    scale: Tensor
    variance: Tensor


def _forward(convs: Sequence[Layer], weights: Sequence[Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
    """The plain network: (rectified output (N * H * W, C), mean batch variance of each norm)."""
    x = _normalised(_convolve(convs[0], image, weights[0]))
    variances = [x.variance]
    at = 1
    while at < len(convs):
        if _is_cheaper_tiled(convs[at : at + 2]):
            wide = _widened_statistics(x, weights[at])
            variances.append(wide.variance)
            x = _normalised(_widen_and_narrow(x, wide, weights[at], weights[at + 1]))
            at += 2
        else:
            x = _normalised(_advance(convs[at], x, weights[at]))
            at += 1
        variances.append(x.variance)
    return x.rows.sub_(x.mean).relu_().mul_(x.scale), torch.stack(variances)


def _is_cheaper_tiled(pair: Sequence[Layer]) -> bool:
    return len(pair) == 2 and all(map(_is_pointwise, pair)) and pair[0].channels >= 2 * pair[0].in_channels


def _normalised(rows: Tensor) -> _Map:
    """Batch statistics of a convolution's output, two passes of vector speed."""
    count = len(rows)
    mean = rows.sum(0) / count
    variance = (rows * rows).sum(0) / count - mean * mean
    return _with_statistics(rows, mean, variance, count)


def _with_statistics(rows: Tensor, mean: Tensor, variance: Tensor, count: int) -> _Map:
    unbiased = variance.mean() * (count / max(1, count - 1))
    return _Map(rows, mean, (variance.clamp_min(0) + NORM_EPS).rsqrt(), unbiased)


def _advance(conv: Layer, x: _Map, weight: Tensor) -> Tensor:
    """Rows after the next convolution, up to a constant per output channel. Overwrites the rows of x."""
    if _is_pointwise(conv):
        return torch.maximum(x.rows, x.mean, out=x.rows) @ (x.scale[:, None] * weight)
    return _convolve(conv, x.rows.sub_(x.mean).relu_().mul_(x.scale), weight)


def _convolve(conv: Layer, rows: Tensor, weight: Tensor) -> Tensor:
    if _is_pointwise(conv):
        return rows @ weight
    _, height, width = conv.in_shape
    x = rows.view(-1, height, width, conv.in_channels).permute(0, 3, 1, 2)
    y = F.conv2d(x, weight, None, conv.stride, conv.padding, 1, conv.groups)
    return y.permute(0, 2, 3, 1).reshape(-1, conv.channels)


def _widened_statistics(x: _Map, weight: Tensor) -> _Map:
    """Statistics of the next pointwise convolution from the covariance of its input, without its output.

    Rectifies the rows of x in place, up to their shift by the mean.
    """
    rows = torch.maximum(x.rows, x.mean, out=x.rows)
    count = len(rows)
    centre = rows.sum(0) / count
    covariance = torch.addmm(torch.outer(centre, centre), rows.t(), rows, beta=-1, alpha=1 / count)
    scaled = x.scale[:, None] * weight
    variance = ((covariance @ scaled) * scaled).sum(0)
    return _with_statistics(rows, centre @ scaled, variance, count)


def _widen_and_narrow(x: _Map, wide: _Map, widen: Tensor, narrow: Tensor) -> Tensor:
    """Two pointwise convolutions with the norm and ReLU between them, tile by tile."""
    first = x.scale[:, None] * widen
    second = wide.scale[:, None] * narrow
    tile = max(64, TILE_FLOATS // widen.shape[1])
    out = x.rows.new_empty(len(x.rows), narrow.shape[1])
    buffer = x.rows.new_empty(min(tile, len(x.rows)), widen.shape[1])
    for start in range(0, len(x.rows), tile):
        rows = x.rows[start : start + tile]
        part = buffer[: len(rows)]
        torch.addmm(wide.mean, rows, first, beta=-1, out=part)
        torch.mm(part.relu_(), second, out=out[start : start + tile])
    return out
