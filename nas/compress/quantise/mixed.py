"""Bits for each layer under a budget of bytes: measured sensitivities, and the exact best choice by their sum.

Source: the sum of single-layer sensitivities as the cost of a choice is that of Dong et al. 2019, "HAWQ-V2" (arXiv
1911.03852). Deviations: sensitivities are measured, not estimated from the Hessian: the mean squared change of the
network's outputs with one layer rounded. Changes of several layers need not add up; the caller should check the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import LinearConstraint, milp
from torch import Tensor, fx, nn

from nas.compress.errors import BudgetUnreachable, CannotCompress
from nas.compress.graph import tensor_name
from nas.compress.quantise.draft import Draft, weight_node
from nas.compress.quantise.execution import constants, operations, run
from nas.compress.quantise.fold import folded
from nas.compress.quantise.network import check_images
from nas.compress.quantise.placement import placed
from nas.compress.quantise.ranges import weight_scale
from nas.compress.quantise.rounding import nearest, value_of
from nas.compress.quantise.settings import LEAST_BITS, MOST_BITS, QuantiseSettings

_BATCH = 64


@dataclass(frozen=True, slots=True)
class MixedBits:
    """A choice of bits.

    Attributes:
        layer_bits: by the name of the weight in the state dict: for ``QuantiseSettings.layer_bits``.
        weight_bytes: of all codes, each layer's rounded up to whole bytes.
        predicted: sum of the sensitivities; lower is better.
        sensitivity: by name and bits, mean squared change of the outputs.
    """

    layer_bits: Mapping[str, int]
    weight_bytes: int
    predicted: float
    sensitivity: Mapping[str, Mapping[int, float]]


def bits_within(
    model: nn.Module,
    images: Tensor,
    *,
    weight_bytes: int,
    choices: Sequence[int] = (2, 3, 4, 5, 6, 8),
    device: torch.device | str = "cpu",
) -> MixedBits:
    """The bits of each layer that change the outputs least while all weights fit into so many bytes.

    Args:
        model: (N, C, H, W) float32 -> one tensor; not changed.
        images: normalised, (N, C, H, W); 64 to 256 are enough.
        weight_bytes: for the codes of all weights; steps and biases come on top.
        choices: bits to choose from, 2..8.
        device: where to compute.
    Raises: CannotCompress, Untraceable; BudgetUnreachable: the fewest bits need more.
    """
    check_images(images)
    if not choices or not all(LEAST_BITS <= bits <= MOST_BITS for bits in choices):
        raise CannotCompress(f"mixed bits: choices are {tuple(choices)}, expected some of {LEAST_BITS}..{MOST_BITS}")
    channels, height, width = images.shape[1:]
    graph = folded(model, (channels, height, width))
    placement = placed(graph, QuantiseSettings(activation_bits=None))
    images = images.to(device)
    draft = Draft(graph, placement, constants(graph, images.device), {}, [])
    layers, bits = list(placement.weights), sorted(set(choices))
    sizes = np.array([[(draft.weight(node).numel() * b + 7) // 8 for b in bits] for node in layers])
    least = int(sizes.min(axis=1).sum())
    if least > weight_bytes:
        raise BudgetUnreachable(
            f"mixed bits: {weight_bytes} bytes, but {bits[0]} bits for all {len(layers)} layers need {least}; "
            "allow more bytes or fewer bits"
        )
    errors = _sensitivities(draft, layers, bits, images)
    picked = _least_error(errors, sizes, weight_bytes)
    names = [str(tensor_name(node.args[1])) for node in layers]
    rows = range(len(layers))
    return MixedBits(
        {name: bits[at] for name, at in zip(names, picked, strict=True)},
        int(sizes[rows, picked].sum()),
        float(errors[rows, picked].sum()),
        {name: dict(zip(bits, map(float, row), strict=True)) for name, row in zip(names, errors, strict=True)},
    )


def _sensitivities(
    draft: Draft, layers: Sequence[fx.Node], bits: Sequence[int], images: Tensor
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(layers, bits): mean squared change of the outputs with one layer's weights rounded to nearest."""
    wanted, found = _outputs(draft, {}, images), np.zeros((len(layers), len(bits)))
    for row, node in enumerate(layers):
        weight = draft.weight(node)
        for column, width in enumerate(bits):
            codes = nearest(weight, weight_scale(weight, width, search=width < MOST_BITS), width)
            changed = _outputs(draft, {weight_node(node): value_of(codes).to(images.device)}, images)
            found[row, column] = float((changed - wanted).double().square().mean())
    return found


def _outputs(draft: Draft, weights: Mapping[fx.Node, Tensor], images: Tensor) -> Tensor:
    nodes, results = operations(draft.graph), list[Tensor]()
    first, last = (next(n for n in draft.graph.graph.nodes if n.op == op) for op in ("placeholder", "output"))
    with torch.no_grad():
        for batch in torch.split(images, _BATCH):
            values = run(nodes, {**draft.tensors, **weights, first: batch})
            results.append(values[last.all_input_nodes[0]])
    return torch.cat(results)


def _least_error(
    errors: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    sizes: np.ndarray[tuple[int, int], np.dtype[np.int64]],
    budget: int,
) -> list[int]:
    """A multiple-choice knapsack: one choice in each row, least sum of errors within the sum of sizes."""
    rows, columns = errors.shape
    one_each = np.kron(np.eye(rows), np.ones((1, columns)))
    constraints = [LinearConstraint(one_each, 1, 1), LinearConstraint(sizes.reshape(1, -1).astype(float), 0, budget)]
    scale = max(float(errors.max()), 1e-300)
    found = milp(errors.reshape(-1) / scale, constraints=constraints, integrality=np.ones(errors.size), bounds=(0, 1))
    return [int(at) for at in found.x.reshape(rows, columns).argmax(axis=1)]
