"""A declared order of networks: what costs more, or scores higher, should have the lower loss."""

from __future__ import annotations

from collections.abc import Callable

from hardware.counts import count
from predictors.proxies.zen import zen_score
from search_spaces.arch import Architecture
from search_spaces.layers import Shape


def prior_of(name: str, input_shape: Shape, num_classes: int) -> Callable[[Architecture], float] | None:
    """The prior of a recipe, remembered by design; None for "none".

    Args:
        name: one of ``nas.train.supernet.recipe.PRIORS``.
        input_shape: (channels, height, width) of one image.
        num_classes: of the classifier.
    """
    if name == "none":
        return None
    known: dict[str, float] = {}

    def prior(arch: Architecture) -> float:
        if arch.digest not in known:
            known[arch.digest] = _value(name, arch, input_shape, num_classes)
        return known[arch.digest]

    return prior


def _value(name: str, arch: Architecture, input_shape: Shape, num_classes: int) -> float:
    if name == "zen":
        return zen_score(arch, input_shape)
    counts = count(arch, input_shape, num_classes)
    return float(counts.macs if name == "macs" else counts.params)
