"""Zen-Score in closed form: microseconds a network, no weights, no randomness.

The Zen-Score of a plain network (no residual links, squeeze-and-excite or classifier) with N(0, 1) weights is

    Zen = ln Delta + sum over norms of ln s,  Delta = E |f(x) - f(x + gamma e)|_1,  s^2 = mean batch variance,

x, e ~ N(0, 1). Each norm makes its map zero-mean, unit-variance and, by the central limit theorem over the
random weights, normal, so both terms follow layer by layer from two scalars:

- A convolution with n = in_channels / groups reads ReLU(u), u ~ N(0, 1), of mean square 1/2 and squared mean
  1 / (2 pi).
  Tap t of one axis lies inside the map at a fraction f_t of the output positions. With F = sum f_t and
  F2 = sum f_t^2, each multiplied over both axes, the expected mean square of the output is n F / 2 and the
  expected square of its spatial mean n F2 / (2 pi), hence

      s^2 = n (F / 2 - F2 / (2 pi)).                          First convolution: s^2 = n F (1 + gamma^2 / 2).

- Let q = 1 - correlation of the two passes before a ReLU, and cos t = 1 - q. The arc-cosine kernel says
  E ReLU(u) ReLU(u') = (sin t + (pi - t) cos t) / (2 pi), so that after the next convolution

      q' = F (t - sin t + (pi - t) q) / (2 pi) / (F / 2 - F2 / (2 pi)).  Start: q = 1 - 1 / sqrt(1 + gamma^2).

- ReLU(u) - ReLU(u') and ReLU(-u') - ReLU(-u) have the same sign, the same law, and u - u' as their sum, so
  E |ReLU(u) - ReLU(u')| is exactly half of E |u - u'|, and ln Delta = ln(C H W) + ln(q / pi) / 2.

- A norm without an activation (linear bottlenecks) or with another one (hard-swish, SiLU, GELU, …) replaces the
  moments 1/2, 1 / (2 pi), the arc-cosine kernel and the distance by its own: ``dual_activation``.

A node that sums the edges of a cell, and an activation before its convolution, are no chain: the score is refused,
and a Monte-Carlo score (``zen_monte_carlo``) takes its place.

q grows by about 1.47 a layer until it saturates: at gamma = 0.01, less than 1 nat of the perturbation is left
after some 27 convolutions and less than 0.01 nats after 45 to 55. From there Delta says nothing about the
network but its output size, and Zen counts depth times log-width.

Source: Lin et al. 2021, Zen-NAS, arXiv 2102.01063; the closed form is ours.
Deviations: Delta is the L1 sum of the authors' code (the paper writes the Frobenius norm). s is the true
batch deviation; the authors read running variances after two forwards at momentum 0.1: ``momentum=0.1``.
Checked against: tests/golden/zen_scores.json.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from predictors.proxies.dual_activation import LINEAR as LINEAR_MAP
from predictors.proxies.dual_activation import relu_loss, response
from predictors.proxies.failure import ProxyFailed
from search_spaces.arch import Architecture, Block
from search_spaces.expand import CACHE_SIZE, SubLayer, expand_sub_layer, sub_layers
from search_spaces.layers import (
    ACTIVATIONS,
    ADD,
    CONV,
    GLOBAL_POOL,
    LINEAR,
    MUL,
    NORM,
    RELU,
    Layer,
    Shape,
    main_path,
    padding_of,
)

GAMMA = 0.01
_HEAD = (GLOBAL_POOL, LINEAR)
_PASSED_THROUGH = (ADD, MUL)  # dropped: the plain network has neither links nor gates


def zen_score(
    arch: Architecture, input_shape: Shape, *, gamma: float = GAMMA, momentum: float = 1.0, repeat: int = 1
) -> float:
    """Compute the expected Zen-Score of an architecture, caching what is additive per block and input shape.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
        gamma: standard deviation of the perturbation of the image, > 0.
        momentum: of the running variances that are read, in (0, 1]; 1 reads the batch variance itself.
        repeat: draws on the same running variances that are averaged; matters only for momentum < 1.
    Returns: nats; higher means more expressive.
    Raises: ProxyFailed: a setting out of range; a network that is not a chain of convolution, norm, activation.
    """
    rhos = update_fractions(gamma, momentum, repeat)
    q, total, shape = _first_q(gamma), 0.0, input_shape
    source: Source = gamma
    for i, block in enumerate(arch.blocks):
        if i > 0 and _pools(block, shape):
            break  # the head of a MobileNetV3: what follows reads no map
        try:
            terms = _block_terms(block, shape, source, rhos)
        except ProxyFailed as error:
            raise ProxyFailed(f"blocks.{i}: {error}") from None
        total += terms.log_scales
        q = _propagated(q, terms)
        shape, source = terms.shape, terms.activation
    if not isinstance(source, str):
        raise ProxyFailed("Zen-Score: the architecture has no blocks, expected at least one")
    return total + _log_delta(q, shape, source)


def zen_score_of_layers(
    layers: Sequence[Layer], *, gamma: float = GAMMA, momentum: float = 1.0, repeat: int = 1
) -> float:
    """Compute the same for a network given as layers; settings, result and errors as in ``zen_score``."""
    terms = _chain_terms(main_path(layers), gamma, update_fractions(gamma, momentum, repeat))
    return terms.log_scales + _log_delta(_propagated(_first_q(gamma), terms), terms.shape, terms.activation)


def perturbation_left(layers: Sequence[Layer], gamma: float = GAMMA) -> float:
    """Tell how much nearer to x than another image the output of x + gamma e is, in nats of ln Delta, >= 0.

    It falls towards 0 with depth. Where it is 0, passing x + gamma e through the network tells nothing that
    another image would not tell.
    """
    terms = _chain_terms(main_path(layers), gamma, (1.0,))
    return 0.5 * math.log(_propagated(1.0, terms) / _propagated(_first_q(gamma), terms))


def _propagated(q: float, terms: _Terms) -> float:
    """Carry q = 1 - correlation through the activations and convolutions of a stretch, without cancellation."""
    if terms.sources is None:
        for gain in terms.gains:
            q = gain * relu_loss(q)
        return q
    for gain, activation in zip(terms.gains, terms.sources, strict=True):
        q = gain * response(activation).loss(q)
    return q


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a stretch of the plain network contributes, whatever comes before or after it."""

    log_scales: float  # sum of ln s over its norms
    gains: tuple[float, ...]  # q' = gain * loss(q), one a convolution that does not read the image
    sources: tuple[str, ...] | None  # the activation that each of them reads; None where all are ReLU
    shape: Shape  # of its output
    activation: str  # of its output


Source = float | str  # what a convolution reads: the image, by gamma, or a map, by its activation


@lru_cache(maxsize=CACHE_SIZE)
def _pools(block: Block, in_shape: Shape) -> bool:
    """Whether a block begins with the pooling of its map."""
    return main_path(expand_sub_layer(sub_layers(block, in_shape)[0][0]))[0].op in _HEAD


@lru_cache(maxsize=CACHE_SIZE)
def _block_terms(block: Block, in_shape: Shape, source: Source, rhos: tuple[float, ...]) -> _Terms:
    log_scales, shape = 0.0, in_shape
    gains: tuple[float, ...] = ()
    sources: tuple[str, ...] = ()
    for part, times in sub_layers(block, in_shape):
        terms = _sub_layer_terms(part, source, rhos)
        log_scales += times * terms.log_scales
        gains += times * terms.gains
        sources += times * (terms.sources or (RELU,) * len(terms.gains))
        shape, source = terms.shape, terms.activation
    return _Terms(log_scales, gains, _unless_relu(sources), shape, terms.activation)


def _unless_relu(sources: tuple[str, ...]) -> tuple[str, ...] | None:
    return sources if any(activation != RELU for activation in sources) else None


@lru_cache(maxsize=CACHE_SIZE)
def _sub_layer_terms(part: SubLayer, source: Source, rhos: tuple[float, ...]) -> _Terms:
    return _chain_terms(main_path(expand_sub_layer(part)), source, rhos)


def _chain_terms(path: Sequence[Layer], source: Source, rhos: tuple[float, ...]) -> _Terms:
    """Terms of consecutive layers of a plain network; the first of them reads the source."""
    variances: list[float] = []
    gains: list[float] = []
    sources: list[str] = []
    for conv, activation in plain_convolutions(path):
        fan_in = conv.in_shape[0] // conv.groups
        filled, filled_square = _coverage(conv.kernel, conv.stride, conv.in_shape[1:], conv.shape[1:])
        if isinstance(source, str):
            read = response(source)
            spread = filled * read.square - filled_square * read.mean**2
            variances.append(fan_in * spread)
            gains.append(filled / spread)
            sources.append(source)
        else:
            variances.append(fan_in * filled * (1 + source * source / 2))
        source = activation
    log_scales = sum(math.log(1 - rho + rho * variance) for rho in rhos for variance in variances)
    return _Terms(log_scales / (2 * len(rhos)), tuple(gains), _unless_relu(tuple(sources)), conv.shape, str(source))


def plain_convolutions(path: Iterable[Layer]) -> list[tuple[Layer, str]]:
    """Pick the convolutions of a chain of conv, norm and perhaps an activation, each with that activation.

    Raises: ProxyFailed: naming the layer that breaks the chain.
    """
    found: list[tuple[Layer, str]] = []
    last = ""  # operation of the layer before
    for layer in path:
        op = layer.op
        if op in _PASSED_THROUGH:
            continue
        if op in _HEAD and last != CONV:
            break
        expected = _expected_after(last)
        if op not in expected:
            raise ProxyFailed(
                f"{layer.name}: {op}, expected {' or '.join(expected[:2])}; the closed form needs convolution, norm "
                "and activation in turn, a Monte-Carlo score (zen-mc) does not"
            )
        if op == CONV:
            found.append((_checked(layer), LINEAR_MAP))
        elif op != NORM:
            found[-1] = (found[-1][0], op)
        last = op
    if not found or last == CONV:
        missing = NORM if found else CONV
        raise ProxyFailed(f"the layers end where {missing} was expected; Zen-Score needs convolutions with norms")
    return found


def _expected_after(op: str) -> tuple[str, ...]:
    """Operations that may follow in a chain; "" stands for its beginning."""
    if op == CONV:
        return (NORM,)
    return (CONV, *ACTIVATIONS) if op == NORM else (CONV,)


def _checked(conv: Layer) -> Layer:
    if min(*conv.in_shape, *conv.shape) < 1:
        raise ProxyFailed(f"{conv.name}: maps {conv.in_shape} -> {conv.shape}, expected no dimension below 1")
    return conv


@lru_cache(maxsize=10_000)
def _coverage(kernel: int, stride: int, size: tuple[int, int], out_size: tuple[int, int]) -> tuple[float, float]:
    """Border effects of one convolution geometry: F and F2."""
    filled = filled_square = 1.0
    for length, out_length in zip(size, out_size, strict=True):
        fractions = _inside(kernel, stride, length, out_length)
        filled *= sum(fractions)
        filled_square *= sum(f * f for f in fractions)
    return filled, filled_square


def _inside(kernel: int, stride: int, length: int, out_length: int) -> list[float]:
    """For each tap of one axis, the fraction of output positions at which it is not on the padding."""
    first = -padding_of(kernel, stride)
    shifts = range(first, first + kernel)
    return [sum(0 <= at * stride + shift < length for at in range(out_length)) / out_length for shift in shifts]


def update_fractions(gamma: float, momentum: float, repeat: int) -> tuple[float, ...]:
    """Share of the batch variance in a running variance that began at 1, after each two forwards."""
    if not 0 < gamma < math.inf or not 0 < momentum <= 1 or repeat < 1:
        raise ProxyFailed(
            f"Zen-Score: gamma={gamma}, momentum={momentum}, repeat={repeat}; "
            "expected gamma > 0, momentum in (0, 1], repeat >= 1"
        )
    if momentum == 1:
        return (1.0,)
    return tuple(1 - (1 - momentum) ** (2 * r) for r in range(1, repeat + 1))


def _first_q(gamma: float) -> float:
    """1 - correlation of x and x + gamma e, without cancellation."""
    root = math.sqrt(1 + gamma * gamma)
    return gamma * gamma / (root * (root + 1))


def _log_delta(q: float, shape: Shape, activation: str) -> float:
    """Log of the expected L1 distance of two maps of this shape."""
    return math.log(math.prod(shape)) + response(activation).log_distance(q)
