"""Parameters and FLOPs as the authors of AutoFormer count them, to check their published numbers to the unit.

Beyond our network theirs has a class token, a position for it, and four tables of relative positions in every layer.
Their "FLOPs" are multiply-accumulates and some additions; their layers see two tokens more than there are patches.
For every other purpose use ``hardware.counts``.

Source: the rules as read in the released code of Chen et al. 2021, AutoFormer, arXiv 2107.00651.
Checked against: tests/golden/autoformer.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from hardware.compat_counts import CompatCounts
from search_spaces.layers import ATTENTION, CONV, LAYER_NORM, POSITION, Layer

FARTHEST = 14  # relative position, in patches
_COUNTED = (CONV, LAYER_NORM, POSITION, ATTENTION)


def autoformer_counts(layers: Sequence[Layer]) -> CompatCounts:
    """Count parameters and FLOPs by the authors' rules, global pooling and relative positions included.

    Args:
        layers: a whole network of ``search_spaces.autoformer`` with classifier, at the size of its position table.
    """
    *encoder, final_norm = [layer for layer in layers if layer.op in _COUNTED]
    tokens = prod(final_norm.shape[1:]) + 1
    classifier = tokens * layers[-1].channels * layers[-1].in_channels  # as if every token were classified
    return CompatCounts(
        sum(layer.weight_count + _extra_params(layer) for layer in layers),
        sum(_flops(layer) for layer in encoder) + classifier,
    )


def _extra_params(layer: Layer) -> int:
    """Class token and its position; tables of rows and columns, for keys and for values."""
    if layer.op == POSITION:
        return 2 * layer.channels
    if layer.op == ATTENTION:
        return 4 * (2 * FARTHEST + 2) * layer.channels // layer.groups
    return 0


def _flops(layer: Layer) -> int:
    patches = prod(layer.shape[1:])
    tokens = patches + 2
    weights = layer.channels * layer.in_channels
    if layer.op == CONV and layer.kernel > 1:
        return layer.channels + patches * layer.kernel**2 * weights
    if layer.op == CONV:
        return tokens * weights
    if layer.op == LAYER_NORM:
        return tokens * layer.channels
    if layer.op == POSITION:
        return (patches + 1) * layer.channels // 2
    pairs = tokens * tokens
    return 2 * pairs * layer.channels + 2 * FARTHEST * pairs + (pairs + tokens * layer.channels) // 2
