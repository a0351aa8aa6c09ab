"""MAE-DET entropy in closed form: microseconds a network, no weights, no randomness.

Feed a plain linear chain (no norms, rectifiers, residual links or gates) with N(0, 1) images, draw all weights
from N(0, 1), and divide every map by its standard deviation. A convolution of k x k taps on in_channels / groups
maps then has variance in_channels k^2 / groups, so that the network up to the end of stage s has

    H_s = ln C_s + sum over its convolutions of ln sqrt(in_channels k^2 / groups)

and the score is the sum of weight_s H_s. A stage is everything before the next block that halves the map; the
first block never ends one. H_s has no resolution term: it is the log deviation of one element plus ln C_s.

Exactness: the sum is that of the definition. As the expected value of the noise forward (``entropy_forward``) it
is an upper bound: it counts taps on the padding, and log of a mean is above mean of a log. Residual links and
gates are left out by definition, as the authors do; a concatenation has no such chain and is refused.

Source: Sun et al. 2022, MAE-DET, arXiv 2111.13336; the closed form is that of the authors' released code ("madnas").
Deviations: weights belong to the last stages, and further ones in front weigh nothing; the authors refuse a
network whose stages are not as many as the weights.
Checked against: tests/golden/entropy_scores.json.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from predictors.proxies.failure import ProxyFailed
from search_spaces.arch import Architecture, Block
from search_spaces.expand import CACHE_SIZE, SubLayer, expand_sub_layer, sub_layers
from search_spaces.layers import ACTIVATIONS, ADD, CONV, GLOBAL_POOL, LINEAR, MUL, NORM, Layer, Shape, main_path

SINGLE_SCALE = (1.0,)
"""The last map alone: classification."""
MULTI_SCALE = (1.0, 1.0, 6.0)
"""C3, C4, C5 of a detection backbone: MAE-DET, QE-Score."""
MULTI_SCALE_DAMO_YOLO = (1.0, 1.0, 16.0)
"""C3, C4, C5 as DAMO-YOLO weighs them."""

_HEAD = (GLOBAL_POOL, LINEAR)
_LEFT_OUT = frozenset((NORM, ADD, MUL, *ACTIVATIONS))


class Stage(NamedTuple):
    """The plain network from the image to the end of one stage.

    Attributes:
        shape: (C, H, W) of the map in which the stage ends.
        convs: convolutions so far, shortcuts and gates left out.
        log_std: their sum of ln sqrt(in_channels k^2 / groups), nats.
        gated: whether one of the blocks so far has a squeeze-and-excite gate.
    """

    shape: Shape
    convs: int
    log_std: float
    gated: bool


class Terms(NamedTuple):
    """What a stretch of the plain network contributes, whatever comes before or after it.

    Attributes:
        shape: (C, H, W) of its output.
        convs: number of its convolutions.
        log_std: their sum of ln sqrt(in_channels k^2 / groups), nats.
        gated: whether it has a squeeze-and-excite gate.
        halves: whether a convolution has a stride.
        depthwise: whether a convolution has groups.
        pools: whether the map is pooled: the head of a network, which has no map left.
    """

    shape: Shape
    convs: int
    log_std: float
    gated: bool
    halves: bool
    depthwise: bool
    pools: bool


def mad_score(arch: Architecture, input_shape: Shape, *, weights: Sequence[float] = SINGLE_SCALE) -> float:
    """Compute the weighted entropy of an architecture, caching what is additive per block and input shape.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image; height and width only decide whether maps exist.
        weights: of the last stages, the deepest last; ``SINGLE_SCALE``, ``MULTI_SCALE``.
    Returns: nats; higher means more expressive.
    Raises: ProxyFailed: fewer stages than weights; not a chain of convolutions.
    """
    return weighted([_entropy(stage) for stage in stages(arch, input_shape)], weights, "MAD")


def mad_score_of_layers(layers: Sequence[Layer], *, weights: Sequence[float] = SINGLE_SCALE) -> float:
    """Compute the same for a network given as layers; settings, result and errors as in ``mad_score``."""
    return weighted([_entropy(stage) for stage in stages_of_layers(layers)], weights, "MAD")


def _entropy(stage: Stage) -> float:
    return math.log(stage.shape[0]) + stage.log_std


def weighted(values: Sequence[float], weights: Sequence[float], score: str) -> float:
    """Sum the values of the last stages times their weights; ProxyFailed when there are too few stages."""
    if not weights or not all(map(math.isfinite, weights)):
        raise ProxyFailed(f"{score}: weights {tuple(weights)}, expected at least one finite number")
    if len(weights) > len(values):
        raise ProxyFailed(
            f"{score}: the network has {len(values)} stages (maps of different size, the first block's included), "
            f"expected at least {len(weights)} for the weights {tuple(weights)}; give fewer weights"
        )
    return sum(weight * value for weight, value in zip(weights, values[-len(weights) :], strict=True))


def stages(arch: Architecture, input_shape: Shape) -> tuple[Stage, ...]:
    """Cut the plain network of an architecture into stages.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
    Returns: one cumulative record a stage, the last at the end of the last block.
    Raises: ProxyFailed: no blocks; a map without elements; a layer that is no part of a chain.
    """
    return _stages(input_shape, _terms_of_blocks(arch, input_shape))


def stages_of_layers(layers: Sequence[Layer]) -> tuple[Stage, ...]:
    """Cut a network given as layers into stages; a convolution that names no block stands for one."""
    path = list(takewhile(lambda layer: layer.op not in _HEAD, main_path(layers)))
    parts: list[list[Layer]] = []
    for layer in path:
        if not parts or layer.block != parts[-1][-1].block or (layer.block < 0 and layer.op == CONV):
            parts.append([])
        parts[-1].append(layer)
    return _stages(path[0].in_shape if path else (0, 0, 0), map(_chain_terms, parts))


def _stages(shape: Shape, parts: Iterable[Terms]) -> tuple[Stage, ...]:
    found: list[Stage] = []
    convs, log_std, gated = 0, 0.0, False
    for i, terms in enumerate(parts):
        if terms.halves and i > 0:
            found.append(Stage(shape, convs, log_std, gated))
        shape = terms.shape
        convs += terms.convs
        log_std += terms.log_std
        gated = gated or terms.gated
    if not convs:
        raise ProxyFailed("entropy: no convolution before the classifier, expected at least one")
    return (*found, Stage(shape, convs, log_std, gated))


def _terms_of_blocks(arch: Architecture, shape: Shape) -> Iterator[Terms]:
    for i, block in enumerate(arch.blocks):
        try:
            terms = block_terms(block, shape)
        except ProxyFailed as error:
            raise ProxyFailed(f"blocks.{i}: {error}") from None
        if terms.pools:
            return
        yield terms
        shape = terms.shape


@lru_cache(maxsize=CACHE_SIZE)
def block_terms(block: Block, in_shape: Shape) -> Terms:
    """Contribution of one block on an input of (channels, height, width)."""
    convs, log_std, gated, halves, depthwise, pools = 0, 0.0, False, False, False, False
    shape = in_shape
    for part, times in sub_layers(block, in_shape):
        terms = _sub_layer_terms(part)
        shape = terms.shape
        convs += times * terms.convs
        log_std += times * terms.log_std
        gated = gated or terms.gated
        halves = halves or terms.halves
        depthwise = depthwise or terms.depthwise
        pools = pools or terms.pools
    return Terms(shape, convs, log_std, gated, halves, depthwise, pools)


@lru_cache(maxsize=CACHE_SIZE)
def _sub_layer_terms(part: SubLayer) -> Terms:
    return _chain_terms(main_path(expand_sub_layer(part)))


def _chain_terms(path: Sequence[Layer]) -> Terms:
    convs = chain_convolutions(path)
    products, halves, depthwise = 1, False, False
    for conv in convs:
        products *= conv.in_shape[0] // conv.groups * conv.kernel * conv.kernel
        halves = halves or conv.stride > 1
        depthwise = depthwise or conv.groups > 1
    ops = {layer.op for layer in path}
    pools = not ops.isdisjoint(_HEAD)
    return Terms(path[-1].shape, len(convs), 0.5 * math.log(products), MUL in ops, halves, depthwise, pools)


def chain_convolutions(path: Iterable[Layer]) -> list[Layer]:
    """Pick the convolutions of a main path up to the classifier; ProxyFailed names what is no part of a chain."""
    convs = []
    for layer in path:
        if layer.op == CONV:
            if min(*layer.in_shape, *layer.shape) < 1:
                raise ProxyFailed(
                    f"{layer.name}: maps {layer.in_shape} -> {layer.shape}, expected no dimension below 1"
                )
            convs.append(layer)
        elif layer.op in _HEAD:
            break
        elif layer.op not in _LEFT_OUT:
            raise ProxyFailed(
                f"{layer.name}: {layer.op}, expected {CONV} or one of {', '.join(sorted(_LEFT_OUT))}; "
                "the entropy of a chain of convolutions has no term for it; take a proxy of modules, such as synflow"
            )
    return convs
