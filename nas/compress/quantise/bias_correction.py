"""Shift biases so that every layer's mean output is that of the float network.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721),
section 4.2, in its form with calibration images (appendix D): layer after layer, with inputs already quantised.
"""

from __future__ import annotations

from torch import Tensor, fx

from nas.compress.graph import operation
from nas.compress.quantise.caches import Caches
from nas.compress.quantise.draft import Draft, shift_bias_
from nas.compress.quantise.units import single_layers


def correct_biases_(draft: Draft, images: Tensor) -> None:
    """Change the biases of all quantised layers, in order of execution."""
    units = single_layers(draft.graph, list(draft.placement.weights), with_functions=False)
    caches = Caches(draft, units, images)
    for unit in units:
        for layer in unit.layers:
            wanted, found = caches.targets(unit)[layer], caches.quantised(unit, rounded=False)[layer]
            shift_bias_(draft, layer, _mean(layer, wanted) - _mean(layer, found))
        caches.advance(unit)


def _mean(layer: fx.Node, values: Tensor) -> Tensor:
    """Of each output channel."""
    channels = values.ndim - 1 if operation(layer) == "linear" else 1
    return values.double().mean([d for d in range(values.ndim) if d != channels]).float()
