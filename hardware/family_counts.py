"""The authors' own counts of a network, by the rules of the family that it belongs to."""

from __future__ import annotations

from typing import NamedTuple

from hardware.autoformer_counts import autoformer_counts
from hardware.compat_counts import compat_counts
from hardware.counts import count
from hardware.tinynas_counts import tinynas_counts
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import ATTENTION, Shape

_ZEN_NAS = ("conv", "zen_", "genet_")  # first letters of its kinds


class FamilyCounts(NamedTuple):
    """What the authors' code says of a network.

    Attributes:
        rules: "TinyNAS" (backbone alone), "AutoFormer", "Zen-NAS" (GENet as well), or "exact": the authors of cells,
            MobileNetV3, NAS-Bench-Macro and ResNet-20 widths count as ``hardware.counts`` does.
        params: parameters; bytes for a TinyNAS network with bits.
        flops: what the authors call FLOPs.
    """

    rules: str
    params: float
    flops: float


def family_counts(arch: Architecture, input_shape: Shape, num_classes: int) -> FamilyCounts:
    """Count by the rules of the network's own authors.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
    """
    if any(block.kind.startswith("tinynas_") for block in arch.blocks):
        backbone = tinynas_counts(arch, input_shape)
        return FamilyCounts("TinyNAS", backbone.size, backbone.flops)
    layers = expand(arch, input_shape, num_classes)
    if any(layer.op == ATTENTION for layer in layers):
        counted = autoformer_counts(layers)
        return FamilyCounts("AutoFormer", counted.params, counted.flops)
    if all(block.kind.startswith(_ZEN_NAS) for block in arch.blocks):
        counted = compat_counts(layers)
        return FamilyCounts("Zen-NAS", counted.params, counted.flops)
    exact = count(arch, input_shape, num_classes)
    return FamilyCounts("exact", exact.params, exact.macs)
