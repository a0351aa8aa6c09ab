"""Random weights and batch statistics through any network with batch norms: what the fast forward does not cover.

Chains lose their residual links and gates, as in the paper. A network of cells has no chain to keep: it runs whole,
and every norm's deviation counts, as in the authors' code when it is given any module. Their score then no longer is
the logarithm of a plain network's sensitivity, and its authors do not recommend it there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from predictors.proxies.failure import ProxyFailed
from predictors.proxies.zen_forward import NORM_EPS
from search_spaces.execute import plain_network
from search_spaces.layers import (
    ATTENTION,
    CONV,
    INPUT,
    LAYER_NORM,
    NORM,
    POSITION,
    SUM,
    Layer,
    head_start,
)
from search_spaces.operations import compute

_REFUSED = (LAYER_NORM, ATTENTION, POSITION)


def scored_layers(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The part of a network that the score sees: no classifier, and no links or gates where the rest is a chain.

    Raises: ProxyFailed: an operation that a score of batch norms says nothing about; no norm at all.
    """
    features = layers[: head_start(layers)]
    kept = tuple(features) if any(x.op == SUM for x in features) else plain_network(features)
    for layer in kept:
        if layer.op in _REFUSED:
            raise ProxyFailed(
                f"{layer.name}: {layer.op}, expected convolutions and batch norms; Zen-Score sums the deviations of "
                "batch norms, which a transformer does not have: use a score of any module (synflow, grad_norm, …)"
            )
    if not any(layer.op == NORM for layer in kept):
        raise ProxyFailed("Zen-Score: the network has no batch norm, expected at least one")
    return kept


def forward_any(
    layers: Sequence[Layer], images: Sequence[Tensor], generator: torch.Generator
) -> tuple[list[Tensor], Tensor]:
    """Run the passes side by side on N(0, 1) weights.

    Args:
        layers: of ``scored_layers``.
        images: one (N, C, H, W) a pass.
        generator: of the weights.
    Returns: the outputs, one a pass, and the mean unbiased batch variance of each norm, over channels and passes.
    """
    values: dict[int, list[Tensor]] = {INPUT: list(images)}
    last_use = {i: at for at, layer in enumerate(layers) for i in layer.inputs}
    variances = []
    for at, layer in enumerate(layers):
        inputs = [values[i] for i in layer.inputs]
        if layer.op == CONV:
            weight = _weight(layer, images[0], generator)
            made = [F.conv2d(x, weight, None, layer.stride, layer.padding, 1, layer.groups) for x in inputs[0]]
        elif layer.op == NORM:
            made = [F.batch_norm(x, None, None, training=True, eps=NORM_EPS) for x in inputs[0]]
            variances.append(torch.stack([_variance(x) for x in inputs[0]]).mean())
        else:
            made = [compute(layer, each) for each in zip(*inputs, strict=True)]
        values[at] = made
        for i in {i for i in layer.inputs if last_use[i] == at}:
            del values[i]
    return values[len(layers) - 1], torch.stack(variances)


def _weight(layer: Layer, like: Tensor, generator: torch.Generator) -> Tensor:
    shape = (layer.channels, layer.in_channels // layer.groups, layer.kernel, layer.kernel)
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)


def _variance(x: Tensor) -> Tensor:
    """Mean over channels of the unbiased batch variance."""
    count = x.numel() // x.shape[1]
    return x.var((0, 2, 3), correction=0).mean() * (count / max(1, count - 1))
