"""QE-Score: the entropy of MAE-DET for a network whose convolutions have few bits, each its own number.

Images and weights are N(0, sigma_a^2) and N(0, sigma_w^2) in steps of the quantiser. Rounded to integers and
clipped to [-2^(b-1), 2^(b-1)], N(0, sigma^2) keeps the root mean square T(sigma, b), so that a convolution of b_a
and b_w bits multiplies the deviation of its map, brought back to sigma_a each time, by

    sqrt(in_channels k^2 / groups) T(sigma_a, b_a) T(sigma_w, b_w) / sigma_a

The score is that of MAE-DET with the logarithm of this factor for each convolution. With M = 2^(b-1),

    T^2 = sum over j = 1..M of (2 j - 1) erfc((j - 1/2) / (sigma sqrt 2)),

because j^2 is the sum of the first j odd numbers and erfc the chance of a value beyond j - 1/2 on either side.

Exactness: as MAE-DET. T supposes that what enters a convolution is normal, as for wide layers.

Source: Sun et al. 2022, Entropy-Driven Mixed-Precision Quantization for Deep Network Design (NeurIPS 2022); the
closed form, sigma_a = 5 and sigma_w = 4 are those of the authors' released code, which tabulates T for 9 sigmas.
Deviations: T from its formula, for any sigma; weights belong to the last stages, as in ``entropy``.
Checked against: tests/golden/entropy_scores.json.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from predictors.proxies.entropy import (
    MULTI_SCALE,
    Stage,
    chain_convolutions,
    stages,
    stages_of_layers,
    weighted,
)
from predictors.proxies.failure import ProxyFailed
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import Layer, Shape, main_path

ACTIVATION_STD = 5.0
WEIGHT_STD = 4.0
MIN_BITS, MAX_BITS = 2, 16
_PRECISIONS = range(MIN_BITS, MAX_BITS + 1)


class Bits(NamedTuple):
    """Numbers of bits of one convolution, each 2 to 16.

    Attributes:
        activation: of its input.
        weight: of its weights.
    """

    activation: int
    weight: int


def bits_of(arch: Architecture) -> list[Bits]:
    """Bits of an architecture's convolutions in order; raises ProxyFailed naming a block without them."""
    bits: list[Bits] = []
    for i, block in enumerate(arch.blocks):
        if not block.weight_bits:
            raise ProxyFailed(
                f"blocks.{i}: no weight_bits and activation_bits; QE-Score is for networks with bits, such as the "
                "members of tinynas-quant; float networks have mad"
            )
        bits.extend(map(Bits, block.activation_bits, block.weight_bits))
    return bits


def quantization_entropy(
    arch: Architecture,
    input_shape: Shape,
    bits: Sequence[Bits],
    *,
    weights: Sequence[float] = MULTI_SCALE,
    activation_std: float = ACTIVATION_STD,
    weight_std: float = WEIGHT_STD,
) -> float:
    """Compute the QE-Score of an architecture.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
        bits: one a convolution in execution order, shortcuts and gates left out.
        weights: of the last stages, the deepest last.
        activation_std: sigma_a in quantiser steps, > 0.
        weight_std: sigma_w in quantiser steps, > 0.
    Returns: nats; higher means more expressive. Comparable only at equal sigma_a and sigma_w.
    Raises: ProxyFailed: bits that are too few, too many or out of range, naming the convolution; else as ``mad_score``.
    """
    try:
        return _score(stages(arch, input_shape), bits, weights, (activation_std, weight_std))
    except _Misfit:
        raise _misfit(expand(arch, input_shape), bits) from None


def quantization_entropy_of_layers(
    layers: Sequence[Layer],
    bits: Sequence[Bits],
    *,
    weights: Sequence[float] = MULTI_SCALE,
    activation_std: float = ACTIVATION_STD,
    weight_std: float = WEIGHT_STD,
) -> float:
    """Compute the same for a network given as layers; settings, result and errors as in ``quantization_entropy``."""
    try:
        return _score(stages_of_layers(layers), bits, weights, (activation_std, weight_std))
    except _Misfit:
        raise _misfit(layers, bits) from None


class _Misfit(Exception):
    """The bits do not fit the convolutions; which of them is for ``_misfit`` to say."""


def _score(found: Sequence[Stage], bits: Sequence[Bits], weights: Sequence[float], stds: tuple[float, float]) -> float:
    if len(bits) != found[-1].convs:
        raise _Misfit
    try:
        kept = list(accumulate(map(_log_kept(*stds).__getitem__, bits), initial=0.0))
    except (KeyError, TypeError):
        raise _Misfit from None
    values = [math.log(stage.shape[0]) + stage.log_std + kept[stage.convs] for stage in found]
    return weighted(values, weights, "QE-Score")


@lru_cache(maxsize=1000)
def _log_kept(activation_std: float, weight_std: float) -> dict[tuple[int, int], float]:
    """What each pair of bits adds to the entropy."""
    if not all(0 < std < math.inf for std in (activation_std, weight_std)):
        raise ProxyFailed(
            f"QE-Score: activation_std={activation_std}, weight_std={weight_std}; expected positive, finite numbers"
        )
    factors = {
        Bits(a, w): quantized_rms(activation_std, a) * quantized_rms(weight_std, w) / activation_std
        for a in _PRECISIONS
        for w in _PRECISIONS
    }
    if not all(factors.values()):
        raise ProxyFailed(
            f"QE-Score: activation_std={activation_std}, weight_std={weight_std} round to nothing; "
            "expected about 1 step or more"
        )
    return {pair: math.log(factor) for pair, factor in factors.items()}


@lru_cache(maxsize=10_000)
def quantized_rms(std: float, bits: int) -> float:
    """Root mean square of N(0, std^2) rounded to integers and clipped to [-2^(bits-1), 2^(bits-1)].

    Args:
        std: in quantiser steps, > 0.
        bits: 2 to 16; a range of 2^bits + 1 values, as the authors count it.
    Returns: quantiser steps.
    """
    scale = 1 / (std * math.sqrt(2))
    mean_square = 0.0
    for j in range(1, 2 ** (bits - 1) + 1):
        beyond = math.erfc((j - 0.5) * scale)
        if beyond == 0:
            break
        mean_square += (2 * j - 1) * beyond
    return math.sqrt(mean_square)


def _misfit(layers: Sequence[Layer], bits: Sequence[Bits]) -> ProxyFailed:
    """Name the first convolution whose bits are missing or out of range."""
    convs = chain_convolutions(main_path(layers))
    for conv, pair in zip(convs, bits, strict=False):
        if pair not in list(_log_kept(ACTIVATION_STD, WEIGHT_STD)):
            return ProxyFailed(
                f"{conv.name}: bits {pair!r}, expected a tuple (activation, weight), each a whole number of "
                f"{MIN_BITS} to {MAX_BITS}"
            )
    at = f"none for {convs[len(bits)].name}" if len(bits) < len(convs) else f"the last is {convs[-1].name}"
    return ProxyFailed(f"QE-Score: {len(bits)} bit pairs, expected one for each of {len(convs)} convolutions; {at}")
