"""How much each element of a unit's output matters for the network's outputs.

For outputs y and a small change d of a unit's output z, |dy|^2 is about d' J'J d; its diagonal weighs the squared
error. With random signs r, the expected square of the gradient of r'y with respect to z is that diagonal.
Source: the weighting by squared gradients is that of Li et al. 2021, "BRECQ" (arXiv 2102.05426), equation 10.
Deviations: gradients of the outputs instead of those of a loss, which vanish where the network is sure of its answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from nas.compress.quantise.draft import Draft
from nas.compress.quantise.execution import run, with_sizes
from nas.compress.quantise.units import Unit

_BATCH = 64


def importance(
    draft: Draft, later: Sequence[Unit], exits: dict[fx.Node, Tensor], others: dict[fx.Node, Tensor], *, seed: int
) -> dict[fx.Node, Tensor]:
    """Weights of the elements of a unit's outputs, with mean 1 over all images.

    Args:
        draft: whose float network is differentiated.
        later: the units behind this one, in order.
        exits: of this unit, of the float network, (N, ...).
        others: tensors that later units read from before this one.
        seed: of the signs.
    Returns: by exit, of its shape.
    """
    nodes = with_sizes([node for unit in later for node in unit.nodes])
    output = next(node for node in draft.graph.graph.nodes if node.op == "output").all_input_nodes[0]
    if output in exits:
        return {node: torch.ones_like(value) for node, value in exits.items()}
    generator = torch.Generator().manual_seed(seed)
    found: dict[fx.Node, list[Tensor]] = {node: [] for node in exits}
    count = len(next(iter(exits.values())))
    for start in range(0, count, _BATCH):
        part = slice(start, start + _BATCH)
        leaves = {node: value[part].clone().requires_grad_() for node, value in exits.items()}
        values = {**draft.tensors, **{node: value[part] for node, value in others.items()}, **leaves}
        outputs = run(nodes, values)[output]
        signs = torch.randint(0, 2, outputs.shape, generator=generator).to(outputs.device) * 2.0 - 1.0
        gradients = torch.autograd.grad((outputs * signs).sum(), list(leaves.values()), allow_unused=True)
        for node, gradient in zip(leaves, gradients, strict=True):
            found[node].append(torch.zeros_like(leaves[node]) if gradient is None else gradient.square())
    squares = {node: torch.cat(parts) for node, parts in found.items()}
    mean = torch.cat([each.mean().reshape(1) for each in squares.values()]).mean().clamp_min(1e-30)
    return {node: each / mean for node, each in squares.items()}
