"""Size and FLOPs as the authors of TinyNAS count them, to check their published numbers to the unit.

Backbone only. A convolution with its norm has weights + 2 C parameters and costs its multiply-accumulates plus 2 C
operations a position; an activation of the main path and behind a projection costs C a position, an average pooling
one operation per input; gates have parameters but no cost. With bits, weights count bits / 8 bytes each and
multiply-accumulates bits_a bits_w / 64 each. For every other purpose use ``hardware.counts``.

Source: the rules as read in the released code of MAE-DET (arXiv 2111.13336), DeepMAD (arXiv 2303.02165) and QE-Score.
Checked against: tests/golden/tinynas_networks.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import ACTIVATIONS, AVG_POOL, CONV, Layer, Shape

FLOAT_BITS = 8  # what the authors divide bits by: a float weight counts as one unit of size


@dataclass(frozen=True, slots=True)
class TinyNasCounts:
    """What the authors' code says of a backbone.

    Attributes:
        size: parameters; bytes where the architecture has bits.
        flops: multiply-accumulates and elementwise operations of one image, their way.
    """

    size: float
    flops: float


def tinynas_counts(arch: Architecture, input_shape: Shape) -> TinyNasCounts:
    """Count a backbone by the authors' rules.

    Args:
        arch: the design, without classifier.
        input_shape: (channels, height, width) of one image.
    """
    size = flops = 0.0
    bits = _bits(arch)
    for layer in expand(arch, input_shape):
        if layer.op == CONV:
            weight_bits, activation_bits = _bits_of(layer, bits)
            size += layer.weight_count * weight_bits / FLOAT_BITS + 2 * layer.channels
            if not _is_gate(layer):
                flops += layer.macs * weight_bits * activation_bits / FLOAT_BITS**2 + 2 * prod(layer.shape)
                flops += prod(layer.shape) if _is_shortcut(layer) else 0
        elif layer.op in ACTIVATIONS and not _is_gate(layer):
            flops += prod(layer.shape)
        elif layer.op == AVG_POOL:
            flops += prod(layer.in_shape)
    return TinyNasCounts(size, flops)


def _bits(arch: Architecture) -> dict[int, Iterator[tuple[int, int]]]:
    """Position of a block with bits -> (weight, activation) bits of its convolutions in order."""
    return {
        at: zip(block.weight_bits, block.activation_bits, strict=True)
        for at, block in enumerate(arch.blocks)
        if block.weight_bits
    }


def _bits_of(layer: Layer, bits: dict[int, Iterator[tuple[int, int]]]) -> tuple[int, int]:
    own = bits.get(layer.block)
    return (FLOAT_BITS, FLOAT_BITS) if own is None or _is_shortcut(layer) else next(own)


def _is_gate(layer: Layer) -> bool:
    return ".se." in layer.name


def _is_shortcut(layer: Layer) -> bool:
    return ".shortcut." in layer.name
