"""Before widths shrink, hidden channels are sorted by importance, so that prefixes keep what matters.

Source: Once-for-all, Cai et al. 2020 (arXiv 1908.09791), whose importance is the L1 norm of a channel's weights; here
that of the kernels that make it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from search_spaces.extremes import largest
from search_spaces.hidden_channels import HiddenChannels, hidden_channels
from search_spaces.layers import CONV, NORM, Layer
from search_spaces.sharing import STATISTICS, Use
from search_spaces.supernet import Supernet


def sort_hidden_channels_(supernet: Supernet, optimiser: torch.optim.Optimizer | None = None) -> int:
    """Reorder the hidden channels of every block of the largest network, most important first, in place.

    The largest network computes the same afterwards. Tensors that it does not use keep their order.

    Args:
        supernet: with trained weights.
        optimiser: whose momenta are reordered alike.
    Returns: groups of channels that were sorted.
    """
    layers, plan = supernet.plan(largest(supernet.space))
    places = {use.name: use for use in plan}
    groups = hidden_channels(layers)
    with torch.no_grad():
        for group in groups:
            importance = sum(
                supernet.shared(places[f"{layers[at].name}.weight"].shared).abs().sum((1, 2, 3)) for at in group.makers
            )
            assert isinstance(importance, Tensor)
            order = importance.argsort(descending=True, stable=True)
            for name, axis in _tensors(layers, places, group):
                _permute_(supernet, optimiser, name, order, axis)
    return len(groups)


def _tensors(layers: tuple[Layer, ...], places: dict[str, Use], group: HiddenChannels) -> Iterator[tuple[str, int]]:
    """Shared tensors of a group, each once, and the axis of its channels."""
    found: dict[tuple[str, int], None] = {}
    for at in (*group.makers, *group.carriers):
        layer = layers[at]
        leaves = ("weight", "bias", *STATISTICS) if layer.op == NORM else ("weight", "bias")
        for leaf in leaves:
            if f"{layer.name}.{leaf}" in places:
                found[places[f"{layer.name}.{leaf}"].shared, 0] = None
    for at in group.readers:
        assert layers[at].op == CONV
        found[places[f"{layers[at].name}.weight"].shared, 1] = None
    yield from found


def _permute_(supernet: Supernet, optimiser: torch.optim.Optimizer | None, name: str, order: Tensor, axis: int) -> None:
    shared = supernet.shared(name)
    shared.copy_(shared.index_select(axis, order))
    state = optimiser.state.get(shared, {}) if optimiser is not None else {}
    for value in state.values():
        if isinstance(value, Tensor) and value.shape == shared.shape:
            value.copy_(value.index_select(axis, order))
